"""The distance of θ from the initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class Distance(Measurement):
    """‖θ − θ₀‖, with θ₀ the initial weights.

    Source: Jastrzębski et al. 2019, the column "Dist." of the tables of Nudged-SGD.
    """

    name: ClassVar[str] = "distance"

    def columns(self, outputs: int) -> Columns:
        return (
            Column(
                "distance",
                "‖θ − θ₀‖",
                "distance of the weights from those at the start",
                "parameter",
            ),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The distance of θ (P,) from the network's initialisation by this seed.

        A module of the user's own begins with its own weights, whatever the seed.
        """
        start = objective.network.initialize(seed).to(theta)
        return {"distance": (theta - start).norm().item()}
