"""What every measurement offers: numbers of one point in parameter space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from eosflow.storage.columns import Columns
from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.datasets.base import DatasetSettings
    from eosflow.networks.base import NetworkSettings
    from eosflow.objectives.base import Objective
    from eosflow.optimizers.base import Optimizer


class Measurement(Plugin, ABC):
    """What to measure of 𝓛 at θ, and a line in `MEASUREMENTS`.

    The numbers depend on objective, θ, iteration and seed alone: they are the same taken while
    training goes on and from a stored snapshot. What is kept of an eigenvector is a copy of its
    own. `version` is raised when the numbers move or the form of the record; only this measurement
    is then made again. `every` is the cadence in iterations; 0 takes every snapshot. One that
    wants `held_out_examples` is given their loss as the last argument of `measure`.
    """

    version: ClassVar[int] = 1
    rows: ClassVar[str] = ""

    every: int = Field(0, description="iterations between two; 0: every snapshot", ge=0)

    @abstractmethod
    def columns(self, outputs: int) -> Columns:
        """What its numbers mean, for C outputs."""

    @property
    def held_out_examples(self) -> int:
        """How many examples of the dataset's test split it wants."""
        return 0

    def why_not(self, network: NetworkSettings, data: DatasetSettings, optimizer: Optimizer) -> str:
        """Why it cannot be taken of such a run, and what to do; empty if it can."""
        wanted, there = self.held_out_examples, data.held_out_size()
        if wanted <= there:
            return ""
        return (
            f"{self.name} wants {wanted} held-out examples, and the test split of the dataset has "
            f"{there}; set its held_out, or take it out of `measure`."
        )

    def during(self, optimizer: Optimizer, iteration: int) -> Measurement:
        """The measurement with what it takes from the optimizer at an iteration."""
        return self

    @abstractmethod
    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        """The numbers at θ (P,), a flat JSON object.

        Random numbers come from (seed, name, iteration).
        """
