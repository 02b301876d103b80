"""Momentum, RMSprop and Adam, each at its own edge."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eosflow.objectives.base import Evaluation, Objective
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.spectra.eigenpairs import Operator
from eosflow.studies.testbeds import SEEDS, Tracker, cheb

log = logging.getLogger(__name__)

LOOKS = 40  # at each run, equally many steps apart


@dataclass(frozen=True)
class Case:
    """An optimizer by the name that the figure has, and for how many steps it is followed."""

    name: str
    optimizer: GradientDescent | Adam | RMSprop
    steps: int


# Learning rates at which the edge is reached in the first half and the loss does not run away:
# Polyak's momentum 0.9 diverges on this problem at 0.4, Nesterov's at 0.2.
CASES = (
    Case("Polyak", GradientDescent(learning_rate=0.4, momentum=0.3), 2000),
    Case("Nesterov", GradientDescent(learning_rate=0.25, momentum=0.3, nesterov=True), 2400),
    Case("RMSprop", RMSprop(learning_rate=5e-4), 800),
    Case("Adam", Adam(learning_rate=0.01), 1000),
)


def rows() -> list[dict[str, Any]]:
    """The rows of the study, on cheb-4."""
    objective = cheb()
    return [row for case in CASES for seed in SEEDS for row in study(case, objective, seed)]


def study(case: Case, objective: Objective, seed: int) -> list[dict[str, Any]]:
    """One row per look, the first after a fortieth of the steps, from a start by `seed`.

    `sharpness` is λ₁(P⁻¹𝓗) with the P of the step from there, `residual` that of its search
    relative to it, `edge` what λ₁(P⁻¹𝓗)η is stable below on a quadratic.
    """
    optimizer, tracker = case.optimizer, Tracker()
    rows: list[dict[str, Any]] = []

    def look(train_state: TrainState, current: Iteration) -> None:
        if not train_state.iteration or train_state.iteration % (case.steps // LOOKS):
            return
        divisor = optimizer.preconditioner(objective, current.evaluation, train_state.optimizer)
        pairs = tracker.find(preconditioned(current.evaluation, divisor), train_state.theta)
        rows.append(
            {
                "seed": seed,
                "optimizer": case.name,
                "learning_rate": optimizer.learning_rate,
                "edge": optimizer.edge(),
                "iteration": train_state.iteration,
                "loss": current.evaluation.loss,
                "sharpness": pairs.values[0].item(),
                "residual": (pairs.residuals[0] / pairs.values[0].abs()).item(),
            }
        )

    start = objective.network.initialize(seed).to(objective.inputs)
    train_state = begin(objective, optimizer, FullBatch(), start, seed)
    follow(
        objective, optimizer, FullBatch(), train_state, StopCriteria(iterations=case.steps), look
    )
    log.info("%s, seed %d: λ₁η %.4g", case.name, seed, _last(rows))
    return rows


def preconditioned(evaluation: Evaluation, divisor: Tensor) -> Operator:
    """P^(−½)𝓗P^(−½), P = diag(p), p (P,) > 0: symmetric, with the eigenvalues of P⁻¹𝓗."""
    scale = divisor.rsqrt()[:, None]

    def apply(block: Tensor, out: Tensor) -> Tensor:
        return evaluation.hessian((scale * block).T.contiguous().T, out).mul_(scale)

    return apply


def _last(rows: list[dict[str, Any]]) -> float:
    return float(rows[-1]["sharpness"] * rows[-1]["learning_rate"]) if rows else float("nan")
