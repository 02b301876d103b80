"""What gradient descent does where the flow sharpens: the same start, followed by both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.testbeds import DICE, SEEDS, cheb, drawn, initial, sharpness, trajectory


@dataclass(frozen=True)
class Problem:
    """A loss, followed to flow time `end`, by gradient descent with η = `every`/m, m in `steps`."""

    name: str
    seeds: tuple[int, ...]
    end: float
    every: float
    steps: tuple[int, ...]

    @property
    def marks(self) -> range:
        return range(round(self.end / self.every) + 1)

    def methods(self) -> Iterator[tuple[str, float, Optimizer, list[StopCriteria]]]:
        """Each method: its name, η, the optimizer, and where it is at each mark."""
        times = [StopCriteria(flow_time=mark * self.every) for mark in self.marks]
        yield FLOW, math.nan, ExponentialRosenbrock(), times
        for count in self.steps:
            rate = self.every / count
            steps = [StopCriteria(iterations=mark * count) for mark in self.marks]
            yield DESCENT, rate, GradientDescent(learning_rate=rate), steps


# On Dice 2/η is 1200, 800 and 512, where the flow's sharpness goes up to about 1,580.
CHEB = Problem("cheb-4", seeds=SEEDS, end=720.0, every=24.0, steps=(120, 80, 60))
SMALL_DICE = Problem("Dice", seeds=(0,), end=3.0, every=0.125, steps=(75, 50, 32))


def rows() -> Iterator[dict[str, Any]]:
    objectives = {CHEB: cheb(), SMALL_DICE: drawn(DICE)}
    for problem, objective in objectives.items():
        yield from study(problem, objective)


def study(problem: Problem, objective: Objective) -> Iterator[dict[str, Any]]:
    """One row per seed, method, learning rate and recorded flow time.

    A method that diverges has no further rows.
    """
    for seed in problem.seeds:
        start = initial(objective, seed)
        flow: list[Tensor] = []
        for method, rate, optimizer, marks in problem.methods():
            losses: list[float] = []

            def note(_: TrainState, now: Iteration, losses: list[float] = losses) -> None:
                if now.step is not None:
                    losses.append(now.evaluation.loss)

            states = trajectory(objective, optimizer, start, marks, seed=seed, observe=note)
            for mark, state in enumerate(states):
                theta, loss = state.theta, objective.evaluate(state.theta).loss
                if method == FLOW:
                    flow.append(theta)
                gone = (flow[mark] - start).norm().item()
                yield {
                    "problem": problem.name,
                    "seed": seed,
                    "method": method,
                    "learning_rate": rate,
                    "flow_time": mark * problem.every,
                    "iteration": state.iteration,
                    "loss": loss,
                    **sharpness(objective, theta, mark, seed),
                    "rises": int((np.diff([*losses, loss]) > 0).sum()),
                    "distance": (theta - flow[mark]).norm().item() / gone if gone else 0.0,
                }
