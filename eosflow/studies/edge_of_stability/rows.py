"""What gradient descent does where the flow sharpens: the same start, followed by both."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.testbeds import DICE, SEEDS, cheb, dice

log = logging.getLogger(__name__)

# Two at once: a search for one alone, to a residual of 0.01, once ended at the second.
SHARPNESS = TopEigenvalues(k=2, tolerance=1e-3)


@dataclass(frozen=True)
class Problem:
    """A loss, how long it is followed, and the learning rates of gradient descent.

    Both methods are recorded every `every` units of flow time, of which each learning rate is a
    whole fraction, `every`/m for m in `steps`.
    """

    name: str
    seeds: tuple[int, ...]
    end: float
    every: float
    steps: tuple[int, ...]

    @property
    def marks(self) -> range:
        """The looks, by their number."""
        return range(round(self.end / self.every) + 1)

    def methods(self) -> Iterator[tuple[str, float, Optimizer, list[StopCriteria]]]:
        """Each method: its name, η, the optimizer, and where it is at each mark.

        A step of gradient descent is η of flow time.
        """
        times = [StopCriteria(flow_time=mark * self.every) for mark in self.marks]
        yield FLOW, math.nan, ExponentialRosenbrock(), times
        for count in self.steps:
            rate = self.every / count
            steps = [StopCriteria(iterations=mark * count) for mark in self.marks]
            yield DESCENT, rate, GradientDescent(learning_rate=rate), steps


# On Dice 2/η is 1200, 800 and 512, where the flow's sharpness goes up to about 1,580.
CHEB = Problem("cheb-4", seeds=SEEDS, end=720.0, every=24.0, steps=(120, 80, 60))
SMALL_DICE = Problem("Dice", seeds=(0,), end=3.0, every=0.125, steps=(75, 50, 32))
PROBLEMS = (CHEB, SMALL_DICE)


def rows() -> list[dict[str, Any]]:
    """The rows of the study."""
    objectives = {CHEB: cheb(), SMALL_DICE: dice(DICE)}
    return [row for problem in PROBLEMS for row in study(problem, objectives[problem])]


def study(problem: Problem, objective: Objective) -> list[dict[str, Any]]:
    """One row per (seed, method, learning rate, recorded flow time).

    `sharpness` is λ₁(𝓗), `residual` the relative residual of its search; `rises` counts the steps
    so far that raised the loss; `distance` is that from the flow at the same flow time, relative to
    how far the flow has gone from the start.
    """
    rows: list[dict[str, Any]] = []
    for seed in problem.seeds:
        start = objective.network.initialize(seed).to(objective.inputs)
        flow: list[Tensor] = []
        for method, rate, optimizer, marks in problem.methods():
            for mark, seen in enumerate(_watched(objective, optimizer, marks, start, seed)):
                theta = seen.pop("theta")
                if method == FLOW:
                    flow.append(theta)
                gone = (flow[mark] - start).norm().item()
                apart = (theta - flow[mark]).norm().item()
                which = {"problem": problem.name, "seed": seed, "method": method}
                distance = apart / gone if gone else 0.0
                place = {"learning_rate": rate, "flow_time": mark * problem.every}
                rows.append({**which, **place, **seen, "distance": distance})
            log.info("%s, seed %d, %s %g: λ₁ %.4g", *which.values(), rate, rows[-1]["sharpness"])
    return rows


def _watched(
    objective: Objective, optimizer: Optimizer, marks: list[StopCriteria], start: Tensor, seed: int
) -> Iterator[dict[str, Any]]:
    """The course of an optimizer at each mark, the first of which is the start.

    Ends early where it diverges.
    """
    batches = FullBatch()
    train_state = begin(objective, optimizer, batches, start, seed)
    losses: list[float] = []

    def note(_: TrainState, current: Iteration) -> None:
        if current.step is not None:
            losses.append(current.evaluation.loss)

    for mark, until in enumerate(marks):
        if mark and follow(objective, optimizer, batches, train_state, until, note) == "diverged":
            return
        evaluation = objective.evaluate(train_state.theta)
        loss = evaluation.loss
        found = SHARPNESS.measure(objective, train_state.theta, mark, seed)
        path = [*losses, loss]
        yield {
            "theta": train_state.theta,
            "iteration": train_state.iteration,
            "loss": loss,
            "sharpness": found["eigenvalue_1"],
            "residual": found["residual_1"],
            "rises": sum(after > before for before, after in itertools.pairwise(path)),
        }
