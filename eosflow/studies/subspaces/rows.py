"""Gradient descent at the edge, and from there on with its step changed in the top directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.subspace import BulkSGD, DominantSGD, NudgedSGD
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, PUSHED, STALE
from eosflow.studies.testbeds import SEEDS, cheb, evaluations, initial


@dataclass(frozen=True)
class Problem:
    """Steps of descent before and of each method after the switch, recorded every `every`.

    The top `k` directions are found every `search` steps, and for one method every `rarely`.
    """

    seeds: tuple[int, ...] = SEEDS
    learning_rate: float = 0.4
    before: int = 1000
    after: int = 800
    every: int = 40
    search: int = 1
    rarely: int = 10
    k: int = 5

    def methods(self) -> dict[str, Optimizer]:
        shared: dict[str, Any] = {"learning_rate": self.learning_rate}
        subspace = {**shared, "k": self.k, "every": self.search}
        return {
            DESCENT: GradientDescent(**shared),
            DOMINANT: DominantSGD(**subspace),
            STALE: DominantSGD(**{**subspace, "every": self.rarely}),
            BULK: BulkSGD(**subspace),
            NUDGED: NudgedSGD(gamma=0.1, **subspace),
            PUSHED: NudgedSGD(gamma=5.0, **subspace),
        }


CHEB = Problem()


def rows(problem: Problem = CHEB, objective: Objective | None = None) -> Iterator[dict[str, Any]]:
    """One row per seed, method and recorded iteration; the methods begin at the switch."""
    objective = objective or cheb()
    descent = GradientDescent(learning_rate=problem.learning_rate)
    for seed in problem.seeds:
        start = initial(objective, seed)
        legs: dict[str, tuple[Optimizer, int, int]] = {BEFORE: (descent, 0, problem.before)}
        legs |= {
            name: (optimizer, problem.before, problem.after)
            for name, optimizer in problem.methods().items()
        }
        for method, (optimizer, first, steps) in legs.items():
            marks = range(0, steps + 1, problem.every)
            seen = list(evaluations(objective, optimizer, start, marks, problem.k, seed=seed))
            if method == BEFORE:
                start = seen[-1][0]
            shared = {"learning_rate": problem.learning_rate, "seed": seed, "method": method}
            diverged = len(seen) <= steps // problem.every
            for _, row in seen:
                row["iteration"] += first
                yield {**shared, **row, "diverged": diverged}
