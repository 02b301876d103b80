"""Gradient descent whose learning rate changes on the way, and with weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eosflow.objectives.base import Objective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.studies.testbeds import SEEDS, Case, Tracker, cheb, initial, trajectory

EVERY = 25  # steps between two evaluations


CASES = (
    Case("drop", GradientDescent(learning_rate=0.6, drop_at=(600,), drop_factor=0.5), 1600),
    Case("warm-up", GradientDescent(learning_rate=0.8, warmup_steps=2000), 2000),
    Case("cosine", GradientDescent(learning_rate=0.6, cosine_steps=1600), 1600),
    Case("weight decay 0.001", GradientDescent(learning_rate=0.6, weight_decay=0.001), 1200),
    Case("weight decay 0.01", GradientDescent(learning_rate=0.6, weight_decay=0.01), 500),
)


def rows() -> Iterator[dict[str, Any]]:
    objective = cheb()
    for case in CASES:
        for seed in SEEDS:
            yield from study(case, objective, seed)


def study(case: Case, objective: Objective, seed: int) -> Iterator[dict[str, Any]]:
    """One row per evaluation, from a start by `seed`; η is that of the step from there."""
    optimizer, tracker = case.optimizer, Tracker()
    constant = (objective.targets - objective.targets.mean(0)).square().sum(1).mean().item() / 2
    marks = range(0, case.steps + 1, EVERY)
    for state in trajectory(objective, optimizer, initial(objective, seed), marks, seed=seed):
        evaluation = objective.evaluate(state.theta)
        yield {
            "seed": seed,
            "case": case.name,
            "iteration": state.iteration,
            "learning_rate": optimizer.rate(state.iteration),
            "weight_decay": optimizer.weight_decay,
            "loss": evaluation.loss,
            "constant_loss": constant,
            **tracker.sharpness(evaluation.hessian, state.theta),
        }
