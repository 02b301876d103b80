"""Momentum, RMSprop and Adam, each at its own edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eosflow.objectives.base import Objective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.studies.testbeds import SEEDS, Case, Tracker, cheb, initial, preconditioned, trajectory

EVALUATIONS = 40  # of each run, equally many steps apart


# Learning rates at which the edge is reached in the first half and the loss does not run away:
# Polyak's momentum 0.9 diverges on this problem at 0.4, Nesterov's at 0.2.
CASES = (
    Case("Polyak", GradientDescent(learning_rate=0.4, momentum=0.3), 2000),
    Case("Nesterov", GradientDescent(learning_rate=0.25, momentum=0.3, nesterov=True), 2400),
    Case("RMSprop", RMSprop(learning_rate=5e-4), 800),
    Case("Adam", Adam(learning_rate=0.01), 1000),
)


def rows() -> Iterator[dict[str, Any]]:
    objective = cheb()
    for case in CASES:
        for seed in SEEDS:
            yield from study(case, objective, seed)


def study(case: Case, objective: Objective, seed: int) -> Iterator[dict[str, Any]]:
    """One row per evaluation, from a start by `seed`; P is that of the step from there."""
    optimizer, tracker = case.optimizer, Tracker()
    every = case.steps // EVALUATIONS
    marks = range(every, case.steps + 1, every)
    for state in trajectory(objective, optimizer, initial(objective, seed), marks, seed=seed):
        evaluation = objective.evaluate(state.theta)
        divisor = optimizer.preconditioner(evaluation, state.optimizer)
        yield {
            "seed": seed,
            "optimizer": case.name,
            "learning_rate": optimizer.learning_rate,
            "edge": optimizer.edge(),
            "iteration": state.iteration,
            "loss": evaluation.loss,
            **tracker.sharpness(preconditioned(evaluation, divisor), state.theta),
        }
