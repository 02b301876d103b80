"""Gradient descent whose learning rate changes on the way, and with weight decay."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from eosflow.objectives.base import Objective
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.studies.testbeds import SEEDS, Tracker, cheb

log = logging.getLogger(__name__)

EVERY = 25  # steps between two looks


@dataclass(frozen=True)
class Case:
    """A schedule or a decay by the name that the figure has, and for how many steps."""

    name: str
    optimizer: GradientDescent
    steps: int


CASES = (
    Case("drop", GradientDescent(learning_rate=0.6, drop_at=(600,), drop_factor=0.5), 1600),
    Case("warm-up", GradientDescent(learning_rate=0.8, warmup_steps=2000), 2000),
    Case("cosine", GradientDescent(learning_rate=0.6, cosine_steps=1600), 1600),
    Case("weight decay 0.001", GradientDescent(learning_rate=0.6, weight_decay=0.001), 1200),
    Case("weight decay 0.01", GradientDescent(learning_rate=0.6, weight_decay=0.01), 500),
)


def rows() -> list[dict[str, Any]]:
    """The rows of the study, on cheb-4."""
    objective = cheb()
    return [row for case in CASES for seed in SEEDS for row in study(case, objective, seed)]


def study(case: Case, objective: Objective, seed: int) -> list[dict[str, Any]]:
    """One row per look, from a start by `seed`.

    `learning_rate` is η_t, that of the step from there; `sharpness` is λ₁(𝓗) of the loss without
    decay and `residual` that of its search relative to it; `constant_loss` is the loss of the best
    constant output.
    """
    optimizer, tracker = case.optimizer, Tracker()
    constant = (objective.targets - objective.targets.mean(0)).square().sum(1).mean().item() / 2
    rows: list[dict[str, Any]] = []

    def look(train_state: TrainState, current: Iteration) -> None:
        if train_state.iteration % EVERY:
            return
        pairs = tracker.find(current.evaluation.hessian, train_state.theta)
        rows.append(
            {
                "seed": seed,
                "case": case.name,
                "iteration": train_state.iteration,
                "learning_rate": optimizer.rate(train_state.iteration),
                "weight_decay": optimizer.weight_decay,
                "loss": current.evaluation.loss,
                "constant_loss": constant,
                "sharpness": pairs.values[0].item(),
                "residual": (pairs.residuals[0] / pairs.values[0].abs()).item(),
            }
        )

    start = objective.network.initialize(seed).to(objective.inputs)
    train_state = begin(objective, optimizer, FullBatch(), start, seed)
    end = follow(
        objective, optimizer, FullBatch(), train_state, StopCriteria(iterations=case.steps), look
    )
    log.info("%s, seed %d: %s, λ₁ %.4g", case.name, seed, end, rows[-1]["sharpness"])
    return rows
