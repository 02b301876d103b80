"""Descent, its central flow and the flow without oscillations, from the same start."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eosflow.objectives.base import Evaluation, Objective
from eosflow.objectives.input_span import input_span
from eosflow.objectives.third_derivatives import CurvatureGraph
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.central_flow import CentralFlow, CentralFlowRMSprop
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.preconditioned import RMSprop
from eosflow.studies.base import CENTRAL, DESCENT, FLOW, SHAKEN
from eosflow.studies.central_flow.methods import Flow, Shaken, Unheld
from eosflow.studies.testbeds import (
    DICE,
    FULL,
    SEEDS,
    Tracker,
    cheb,
    drawn,
    initial,
    preconditioned,
)

Array = NDArray[np.float64]

AROUND = 10  # steps before and after the one whose mean place is taken
EPSILON = 1e-8  # of RMSprop


@dataclass(frozen=True)
class Problem:
    """A loss, followed to flow time `end` at each rate; `every` is a whole, even number of steps.

    `beta2` is that of RMSprop, 0 for gradient descent. With `noise` descent is followed a second
    time, with noise of that deviation on each weight after each step.
    """

    name: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    end: float
    every: float
    beta2: float = 0.0
    noise: float = 0.0

    @property
    def marks(self) -> range:
        return range(1, round(self.end / self.every) + 1)

    def optimizers(self, rate: float) -> tuple[GradientOptimizer, Optimizer, Optimizer]:
        if not self.beta2:
            return GradientDescent(learning_rate=rate), CentralFlow(learning_rate=rate), Flow()
        return (
            RMSprop(learning_rate=rate, alpha=self.beta2, epsilon=EPSILON),
            CentralFlowRMSprop(learning_rate=rate, beta2=self.beta2, epsilon=EPSILON),
            Unheld(learning_rate=rate, beta2=self.beta2, epsilon=EPSILON, substeps=2),
        )


CHEB = Problem("cheb-4", SEEDS, (0.3, 0.4), end=720.0, every=24.0, noise=1e-5)
# Which comes to the edge late.
CHEB_SLOW = dataclasses.replace(CHEB, rates=(0.2,), end=960.0)
CHEB_RMSPROP = Problem("cheb-4, RMSprop", SEEDS, (5e-4,), end=0.5, every=0.025, beta2=0.99)
# Seed 10 begins beyond the edge.
SMALL_DICE = Problem("Dice", SEEDS[1:], (1 / 500,), end=2.4, every=0.12)


def rows() -> Iterator[dict[str, Any]]:
    problems = {problem: cheb() for problem in (CHEB_SLOW, CHEB, CHEB_RMSPROP)}
    problems[SMALL_DICE] = drawn(DICE)
    for problem, objective in problems.items():
        yield from study(problem, objective)


def study(problem: Problem, objective: Objective) -> Iterator[dict[str, Any]]:
    """One row per seed, learning rate, method and recorded flow time.

    Means are from half a mark before to half a mark after: of descent as observed, of the central
    flow as predicted.
    """
    for seed in problem.seeds:
        start, seen = initial(objective, seed), objective
        if not problem.beta2 and (span := input_span(objective)):
            start, seen = span.project(start), span.objective
        for rate in problem.rates:
            yield from _compared(problem, seen, start, seed, rate)


def _compared(
    problem: Problem, objective: Objective, start: Tensor, seed: int, rate: float
) -> Iterator[dict[str, Any]]:
    """The rows of one start and learning rate, up to where a method diverges."""
    descent, central, flow = problem.optimizers(rate)
    per_mark, marks = round(problem.every / rate), problem.marks
    seen = {DESCENT: Oscillating(objective, descent, start, per_mark, marks)}
    if problem.noise:
        shaken = Shaken(learning_rate=rate, noise=problem.noise)
        seen[SHAKEN] = Oscillating(objective, shaken, start, per_mark, marks)
    smoothed = {
        CENTRAL: smooth(objective, central, start, problem),
        FLOW: smooth(objective, flow, start, problem),
    }
    ends = [len(each.marks) for each in seen.values()] + [len(each) for each in smoothed.values()]
    for number, mark in enumerate(marks[: min(ends)]):
        place = {
            "problem": problem.name,
            "seed": seed,
            "learning_rate": rate,
            "flow_time": mark * problem.every,
        }
        gone = (smoothed[FLOW][number].theta - start).norm().item()
        for method, observed in seen.items():
            yield {**place, "method": method, **observed.facts(mark)}
        for method, smooth_ones in smoothed.items():
            there = smooth_ones[number]
            row = {**place, "method": method, **there.facts}
            row["distance"] = (there.theta - seen[DESCENT].mean(mark)).norm().item() / gone
            halfway = seen[DESCENT].midpoint(mark)
            row["midpoint_distance"] = (there.theta - halfway).norm().item() / gone
            if SHAKEN in seen:
                apart = there.theta - seen[SHAKEN].mean(mark)
                row["distance_with_noise"] = apart.norm().item() / gone
            yield row


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
                p = optimizer.preconditioner(now.evaluation, state.optimizer)
                self._sharpness[state.iteration] = _sharpness(tracker, now.evaluation, p)

        state = begin(objective, optimizer, FULL, start, 0)
        if "square_mean" in state.optimizer:  # begun as the central flow begins
            squares = objective.evaluate(start).gradient.square()
            state.optimizer = {**state.optimizer, "square_mean": squares}
        until = StopCriteria(iterations=per_mark * marks[-1] + per_mark // 2)
        follow(objective, optimizer, FULL, state, until, observe)
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
    """A flow at each of the marks whose time around it it reaches."""
    tracker, places = Tracker(), []
    # Of each step: when it begins, mean loss and variance as predicted there, and its rank.
    seen: list[tuple[float, float, float, int]] = []

    def observe(state: TrainState, now: Iteration) -> None:
        if now.step is not None:
            facts = now.step.facts
            loss = facts.get("predicted_loss", now.evaluation.loss)
            variance = facts.get("variance_1", 0.0)
            seen.append((state.flow_time, loss, variance, int(facts.get("rank", 0))))

    def reaches(flow_time: float) -> bool:
        until = StopCriteria(flow_time=flow_time)
        return follow(objective, optimizer, FULL, state, until, observe) == "flow_time"

    state = begin(objective, optimizer, FULL, start, 0)
    for mark in problem.marks:
        if not reaches(mark * problem.every):
            break
        theta, evaluation = state.theta, objective.evaluate(state.theta)
        found = _sharpness(tracker, evaluation, _p(state, theta))
        facts = {"sharpness": found, "loss": evaluation.loss}
        places.append((mark * problem.every, Smooth(theta, facts)))
    reaches((problem.marks[-1] + 0.5) * problem.every)
    times, losses, variances, ranks = np.array([*seen, (state.flow_time, *seen[-1][1:])]).T
    half, end = problem.every / 2, state.flow_time * (1 + 1e-9)
    for at, place in places:
        place.facts["mean_loss"] = mean_between(at - half, at + half, times, losses)
        place.facts["variance"] = mean_between(at - half, at + half, times, variances)
        place.facts["rank"] = int(ranks[(times >= at - half) & (times < at + half)].max(initial=0))
    return [place for at, place in places if at + half <= end]


def mean_between(low: float, high: float, times: Array, values: Array) -> float:
    """The mean from low to high of what is known at some times (n,), and linear between them."""
    areas = np.diff(times) * (values[1:] + values[:-1]) / 2
    area = np.interp((low, high), times, np.concatenate([[0.0], areas.cumsum()]))
    return float(area[1] - area[0]) / (high - low)


def _sharpness(tracker: Tracker, evaluation: Evaluation, p: Tensor) -> float:
    """λ₁(P⁻¹𝓗), from the graph of the gradient: the products of a small network are cheaper so."""
    graph = CurvatureGraph(evaluation)
    return tracker.find(preconditioned(graph, p), graph.theta).values[0].item()


def _p(state: TrainState, theta: Tensor) -> Tensor:
    """p of the metric that a flow is in, (P,)."""
    if "square_mean" not in state.optimizer:
        return torch.ones_like(theta)
    return cast(Tensor, state.optimizer["square_mean"]).sqrt() + EPSILON
