"""Gradient descent at the edge, and from there on with its step changed in the top directions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eosflow.measurements.gradient_alignment import GradientAlignment
from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Batches, FullBatch
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import StopCriteria, begin, follow
from eosflow.optimizers.subspace import BulkSGD, DominantSGD, NudgedSGD
from eosflow.runs.studies.names import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, PUSHED
from eosflow.runs.studies.testbeds import cheb

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """η, the steps of gradient descent before and of each method after the switch.

    The course is looked at every `every` steps, a divisor of both; the subspace of the top `k`
    directions is found anew every `search` steps.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    learning_rate: float = 0.4
    before: int = 1000
    after: int = 800
    every: int = 40
    search: int = 10
    k: int = 5

    def methods(self) -> dict[str, Optimizer]:
        """What goes on from the switch, by name."""
        shared: dict[str, Any] = {"learning_rate": self.learning_rate}
        subspace = {**shared, "k": self.k, "every": self.search}
        return {
            DESCENT: GradientDescent(**shared),
            DOMINANT: DominantSGD(**subspace),
            BULK: BulkSGD(**subspace),
            NUDGED: NudgedSGD(gamma=0.1, **subspace),
            PUSHED: NudgedSGD(gamma=5.0, **subspace),
        }


CHEB = Problem()


def rows() -> list[dict[str, Any]]:
    """The rows of the study."""
    return study(CHEB, cheb())


def study(problem: Problem, objective: Objective) -> list[dict[str, Any]]:
    """One row per (seed, method, iteration looked at); the methods begin at the switch.

    `sharpness` is λ₁(𝓗), `gradient_share` the share of ‖∇𝓛‖² in the top k directions, `residual`
    the largest relative residual of an eigenpair. `diverged` says that the method went beyond all
    bounds: its rows end at the last look before.
    """
    rows: list[dict[str, Any]] = []
    descent = GradientDescent(learning_rate=problem.learning_rate)
    for seed in problem.seeds:
        start = objective.network.initialize(seed).to(objective.inputs)
        courses: dict[str, tuple[Optimizer, int, int]] = {BEFORE: (descent, 0, problem.before)}
        courses |= {
            name: (optimizer, problem.before, problem.after)
            for name, optimizer in problem.methods().items()
        }
        for method, (optimizer, first, steps) in courses.items():
            train_state = (objective, optimizer, FullBatch(), start, seed)
            seen = list(looks(*train_state, range(0, steps + 1, problem.every), problem.k))
            if method == BEFORE:
                start = seen[-1]["theta"]
            diverged = len(seen) <= steps // problem.every
            for look in seen:
                del look["theta"]
                look["iteration"] += first
                rows.append({"seed": seed, "method": method, **look, "diverged": diverged})
            log.info("seed %d, %s: λ₁ %.4g", seed, method, rows[-1]["sharpness"])
    return [{"learning_rate": problem.learning_rate, **row} for row in rows]


def looks(
    objective: Objective,
    optimizer: Optimizer,
    batches: Batches,
    start: Tensor,
    seed: int,
    iterations: range,
    k: int,
) -> Iterator[dict[str, Any]]:
    """The course of an optimizer at each of the iterations; ends early where it diverges."""
    measurement = GradientAlignment(k=k, batches=1)
    train_state = begin(objective, optimizer, batches, start, seed)
    for iteration in iterations:
        until = StopCriteria(iterations=iteration)
        if follow(objective, optimizer, batches, train_state, until, lambda *_: None) == "diverged":
            return
        evaluation = objective.evaluate(train_state.theta)
        found = measurement.measure(objective, train_state.theta, iteration, seed)
        yield {
            "theta": train_state.theta,
            "iteration": iteration,
            "loss": evaluation.loss,
            "sharpness": found["eigenvalue_1"],
            "gradient_share": found["gradient_share"],
            "residual": max(found[f"residual_{m}"] for m in range(1, k + 1)),
        }
