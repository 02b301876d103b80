"""How far training has gone: the distance of θ from where it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from eosflow.storage.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


@dataclass(frozen=True)
class Distance:
    """‖θ − θ₀‖, with θ₀ the weights that training began with.

    Source: Jastrzębski et al. 2019, the column "Dist." of the tables of Nudged-SGD.
    """

    name: ClassVar[str] = "distance"
    version: ClassVar[int] = 1

    every: int = setting(0, about="iterations between two; 0: every snapshot", minimum=0)

    def columns(self, outputs: int) -> tuple[str, ...]:
        """The one number."""
        return ("distance",)

    def applies_to(self, network: str) -> bool:
        """To any."""
        return True

    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        """The distance of θ (P,) from the network's initialisation by this seed.

        A module of the user's own begins with its own weights, whatever the seed.
        """
        start = objective.network.initialize(seed).to(theta)
        return {"distance": (theta - start).norm().item()}
