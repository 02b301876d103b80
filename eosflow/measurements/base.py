"""What every measurement offers: numbers of one point in parameter space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class Measurement(Protocol):
    """What to measure of 𝓛 at θ: a frozen dataclass, see `eosflow.storage.settings`.

    The numbers depend on objective, θ, iteration and seed alone: they are the same taken while
    training goes on and from a stored snapshot. What is kept of an eigenvector is a copy of its
    own. `version` is raised when the numbers move or the form of the record; only this measurement
    is then made again. `every` is the cadence in iterations; 0 takes every snapshot. One with a
    setting `held_out` wants so many examples of the dataset's test split: `measure` is given their
    loss as a last argument.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    every: int

    def columns(self, outputs: int) -> tuple[str, ...]:
        """Names of the numbers, as far as they are known before the network is."""

    def applies_to(self, network: str) -> bool:
        """Whether it is defined for a kind of network, by its name in the registry."""

    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        """The numbers at θ (P,), a flat JSON object.

        Random numbers come from (seed, name, iteration).
        """
