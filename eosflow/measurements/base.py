"""The interface of measurements: numbers at one point in parameter space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.storage.columns import Columns, count
from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eosflow.datasets.base import DatasetSettings
    from eosflow.networks.base import NetworkSettings
    from eosflow.objectives.base import Objective
    from eosflow.optimizers.base import Optimizer


# A flat JSON object.
Numbers = dict[str, Any]


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

    every: int = Field(
        0, description="iterations between two measurements; 0: every snapshot", ge=0
    )

    @abstractmethod
    def columns(self, outputs: int) -> Columns:
        """What its numbers mean, for C outputs."""

    @property
    def held_out_examples(self) -> int:
        """How many examples of the dataset's test split it wants."""
        return 0

    def why_not(self, network: NetworkSettings, data: DatasetSettings, optimizer: Optimizer) -> str:
        """Why it cannot be taken of such a run, and what to do; empty if it can."""
        wanted, there = self.held_out_examples, data.size(held_out=True)
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
    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,).

        Random numbers come from (seed, name, iteration).
        """

    def stream(self, iteration: int, seed: int) -> Generator:
        """The random stream of one measurement."""
        from eosflow.spectra.randomness import generator

        return generator(seed, f"{self.name} {iteration}")


# Of measurements of one matrix.
Matrix = Literal["hessian", "gauss_newton", "residual"]
MATRIX: Any = Field("hessian", description="of which matrix")
# Of measurements that search for eigenpairs, or look at batches.
TOLERANCE = Field(
    0.001, description="largest residual of an eigenpair, relative to the sharpness", gt=0, lt=1
)
BATCH_SIZE = count("batch_size", "examples per minibatch", "examples")


def drawn_batch(objective: Objective, size: int, stream: Generator) -> Objective:
    """The loss of `size` examples drawn at random, none twice."""
    import torch

    rows = torch.randperm(objective.examples, generator=stream)[:size]
    return objective.batch(rows.to(objective.inputs.device))


def equal_batches(objective: Objective, size: int, stream: Generator) -> list[Objective]:
    """The loss of each ⌊N/size⌋ batches in a random order of the examples; the rest is left out."""
    import torch

    parts = objective.examples // size
    order = torch.randperm(objective.examples, generator=stream)[: parts * size]
    device = objective.inputs.device
    return [objective.batch(rows.to(device)) for rows in order.view(parts, size)]
