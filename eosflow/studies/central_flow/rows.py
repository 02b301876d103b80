"""Descent, its central flow and the flow without oscillations, from the same start."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.central_flow import CentralFlow, CentralFlowRMSprop
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.preconditioned import RMSprop
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.spectra.eigenpairs import EigenPairs
from eosflow.studies.base import CENTRAL, DESCENT, FLOW
from eosflow.studies.optimizer_edges.rows import preconditioned
from eosflow.studies.testbeds import DICE, SEEDS, Tracker, cheb, dice

log = logging.getLogger(__name__)

AROUND = 10  # steps before and after the one whose mean place is taken
BATCHES = FullBatch()
EPSILON = 1e-8  # of RMSprop


class Unheld(CentralFlowRMSprop):
    """RMSprop's flow without oscillations: nothing holds the curvature at the edge."""

    def _near(self, found: EigenPairs) -> int:
        return 0


@dataclass(frozen=True)
class Problem:
    """A loss, and how long an optimizer is followed at each learning rate.

    Everything is recorded every `every` units of flow time, a whole and even number of steps.
    `beta2` is that of RMSprop, 0 for gradient descent.
    """

    name: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    end: float
    every: float
    beta2: float = 0.0

    @property
    def marks(self) -> range:
        """The looks after the start, by their number."""
        return range(1, round(self.end / self.every) + 1)

    def optimizers(self, rate: float) -> tuple[GradientOptimizer, Optimizer, Optimizer]:
        """Descent, its central flow, and the flow."""
        if not self.beta2:
            flow = ExponentialRosenbrock()
            return GradientDescent(learning_rate=rate), CentralFlow(learning_rate=rate), flow
        return (
            RMSprop(learning_rate=rate, alpha=self.beta2, epsilon=EPSILON),
            CentralFlowRMSprop(learning_rate=rate, beta2=self.beta2, epsilon=EPSILON),
            Unheld(learning_rate=rate, beta2=self.beta2, epsilon=EPSILON, substeps=2),
        )


CHEB = Problem("cheb-4", SEEDS, (0.2, 0.3, 0.4), end=720.0, every=24.0)
CHEB_RMSPROP = Problem("cheb-4, RMSprop", SEEDS, (5e-4,), end=0.5, every=0.025, beta2=0.99)
SMALL_DICE = Problem("Dice", (0, 1, 2, 3, 4), (1 / 400,), end=1.5, every=0.125)


def rows() -> list[dict[str, Any]]:
    """The rows of the study."""
    problems = {CHEB: cheb(), CHEB_RMSPROP: cheb(), SMALL_DICE: dice(DICE)}
    return [row for problem, objective in problems.items() for row in study(problem, objective)]


def study(problem: Problem, objective: Objective) -> list[dict[str, Any]]:
    """One row per (seed, learning rate, method, recorded flow time).

    `distance` is that of a flow from the mean place of descent over 21 steps, and
    `midpoint_distance` that from half way along one step, both relative to how far the flow has
    gone from the start. `mean_loss` and `variance` are means from half a mark before to half a mark
    after: of descent as observed, of the central flow as predicted.
    """
    rows: list[dict[str, Any]] = []
    for seed in problem.seeds:
        start = objective.network.initialize(seed).to(objective.inputs)
        for rate in problem.rates:
            begun = time.process_time()
            rows += _compared(problem, objective, start, seed, rate)
            used = time.process_time() - begun
            log.info("%s, seed %d, η %g: %.0f s of processor time", problem.name, seed, rate, used)
    return rows


def _compared(
    problem: Problem, objective: Objective, start: Tensor, seed: int, rate: float
) -> Iterator[dict[str, Any]]:
    """The rows of one start and learning rate, up to where a method diverges."""
    descent, central, flow = problem.optimizers(rate)
    seen = Oscillating(objective, descent, start, round(problem.every / rate), problem.marks)
    predicted = smooth(objective, central, start, problem)
    unheld = smooth(objective, flow, start, problem)
    for mark, ours, theirs in zip(seen.marks, predicted, unheld, strict=False):
        place = {
            "problem": problem.name,
            "seed": seed,
            "learning_rate": rate,
            "flow_time": mark * problem.every,
        }
        gone = (theirs.theta - start).norm().item()
        yield {**place, "method": DESCENT, **seen.facts(mark)}
        for method, there in ((CENTRAL, ours), (FLOW, theirs)):
            apart = {
                "distance": (there.theta - seen.mean(mark)).norm().item() / gone,
                "midpoint_distance": (there.theta - seen.midpoint(mark)).norm().item() / gone,
            }
            yield {**place, "method": method, **there.facts, **apart}


class Oscillating:
    """All steps of an optimizer, its loss there, and its sharpness at the marks."""

    def __init__(
        self,
        objective: Objective,
        optimizer: GradientOptimizer,
        start: Tensor,
        per_mark: int,
        marks: range,
    ) -> None:
        self._per_mark = per_mark
        self._losses: list[float] = []
        self._sharpness: dict[int, float] = {}
        path: list[Tensor] = []
        tracker = Tracker()

        def observe(state: TrainState, now: Iteration) -> None:
            path.append(state.theta)
            self._losses.append(now.evaluation.loss)
            if state.iteration and state.iteration % per_mark == 0:
                p = optimizer.preconditioner(objective, now.evaluation, state.optimizer)
                pairs = tracker.find(preconditioned(now.evaluation, p), state.theta)
                self._sharpness[state.iteration] = pairs.values[0].item()

        state = begin(objective, optimizer, BATCHES, start, 0)
        if "square_mean" in state.optimizer:  # begun as the central flow begins
            squares = objective.evaluate(start).gradient.square()
            state.optimizer = {**state.optimizer, "square_mean": squares}
        until = StopCriteria(iterations=per_mark * marks[-1] + per_mark // 2)
        follow(objective, optimizer, BATCHES, state, until, observe)
        self._path = torch.stack(path)
        self.marks = [mark for mark in marks if (mark + 0.5) * per_mark < len(path)]

    def mean(self, mark: int) -> Tensor:
        """The mean of θ over the steps around a mark."""
        step = mark * self._per_mark
        return self._path[step - AROUND : step + AROUND + 1].mean(0)

    def midpoint(self, mark: int) -> Tensor:
        """Half way along the step from a mark."""
        step = mark * self._per_mark
        return self._path[step : step + 2].mean(0)

    def facts(self, mark: int) -> dict[str, float]:
        """Loss and sharpness at a mark; mean loss and variance of the time around it.

        The variance is the largest eigenvalue of the mean of ddᵀ, d half the difference of two
        steps: ±d for an oscillation whose sign changes with every step, and 0 for a slow drift.
        """
        step = mark * self._per_mark
        low, high = step - self._per_mark // 2, step + self._per_mark // 2
        swing = (self._path[low:high] - self._path[low + 1 : high + 1]) / 2
        return {
            "sharpness": self._sharpness[step],
            "loss": self._losses[step],
            "mean_loss": float(np.mean(self._losses[low:high])),
            "variance": torch.linalg.matrix_norm(swing, 2).item() ** 2 / len(swing),
        }


@dataclass(frozen=True)
class Smooth:
    """Where a flow is at a mark, and what it predicts of the time around it."""

    theta: Tensor
    facts: dict[str, float]


def smooth(
    objective: Objective, optimizer: Optimizer, start: Tensor, problem: Problem
) -> list[Smooth]:
    """A flow at each of the marks that it reaches."""
    tracker, found = Tracker(), []
    around: list[tuple[float, float, float, int]] = []  # of each step since half a mark before

    def observe(state: TrainState, now: Iteration) -> None:
        if now.step is not None:
            facts = now.step.facts
            loss = facts.get("predicted_loss", now.evaluation.loss)
            variance = facts.get("variance_1", 0.0)
            around.append((now.step.step_size, loss, variance, int(facts.get("rank", 0))))

    def reaches(flow_time: float) -> bool:
        until = StopCriteria(flow_time=flow_time)
        return follow(objective, optimizer, BATCHES, state, until, observe) == "flow_time"

    state = begin(objective, optimizer, BATCHES, start, 0)
    for mark in problem.marks:
        if not reaches((mark - 0.5) * problem.every):
            break
        around.clear()
        if not reaches(mark * problem.every):
            break
        theta, evaluation = state.theta, objective.evaluate(state.theta)
        pairs = tracker.find(preconditioned(evaluation, _p(state, theta)), theta)
        if not reaches((mark + 0.5) * problem.every):
            break
        length, loss, variance, rank = np.array(around).T
        facts = {
            "sharpness": pairs.values[0].item(),
            "loss": evaluation.loss,
            "mean_loss": float(np.average(loss, weights=length)),
            "variance": float(np.average(variance, weights=length)),
            "rank": int(rank.max()),
        }
        found.append(Smooth(theta, facts))
    return found


def _p(state: TrainState, theta: Tensor) -> Tensor:
    """p of the metric that a flow is in, (P,)."""
    if "square_mean" not in state.optimizer:
        return torch.ones_like(theta)
    return cast(Tensor, state.optimizer["square_mean"]).sqrt() + EPSILON
