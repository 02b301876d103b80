"""Which iterations of a run leave a weight snapshot, besides the last."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

from pydantic import Field

from eosflow.storage.settings import UNIQUE, Plugin


class Snapshots(Plugin, ABC):
    """A schedule, and a line in `SNAPSHOTS`."""

    @abstractmethod
    def wanted(self, iteration: int, flow_time: float, last: float) -> bool:
        """Whether an iteration leaves a snapshot; `last` is the flow time of the one before.

        It is −∞ where there is none yet.
        """

    @abstractmethod
    def count(self, iterations: float, flow_time: float) -> float:
        """Snapshots of a run of so many iterations and so much flow time, roughly."""


class EveryIterations(Snapshots):
    """At a fixed interval of iterations, and at further ones."""

    name: ClassVar[str] = "iterations"

    every: int = Field(100, description="iterations between two snapshots", ge=1)
    also: Annotated[tuple[Annotated[int, Field(ge=0)], ...], UNIQUE] = Field(
        (0, 10),
        description="further iterations with a snapshot",
    )

    def wanted(self, iteration: int, flow_time: float, last: float) -> bool:
        """Whether the iteration is one of them."""
        return iteration % self.every == 0 or iteration in self.also

    def count(self, iterations: float, flow_time: float) -> float:
        """Iterations over their distance, and the others."""
        return iterations / self.every + len(self.also)


class FlowTimes(Snapshots):
    """After the first step, and at a fixed number of times per decade of flow time.

    No step is cut short for it, so that an adaptive optimizer pays nothing. Marks are dense early,
    where the weights move fast, and thin late.
    """

    name: ClassVar[str] = "flow-time"

    per_decade: int = Field(
        12, description="largest number of snapshots per decade of flow time", ge=1
    )

    def wanted(self, iteration: int, flow_time: float, last: float) -> bool:
        """Whether the step that led here passed a mark."""
        if last <= 0 or flow_time <= 0:
            return iteration == 0 or flow_time > last
        return self._mark(flow_time) > self._mark(last)

    def _mark(self, flow_time: float) -> int:
        return math.floor(self.per_decade * math.log10(flow_time))

    def count(self, iterations: float, flow_time: float) -> float:
        """Marks of the four decades that runs span, at most one per iteration."""
        return min(iterations, 4.0 * self.per_decade)


SNAPSHOTS: dict[str, type[Snapshots]] = {kind.name: kind for kind in (EveryIterations, FlowTimes)}
