"""How sharp sharpness-aware minimization lets the loss become, beside gradient descent."""

from __future__ import annotations

import logging
from typing import Any

from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.objectives.base import Objective
from eosflow.optimizers.sharpness import SAM
from eosflow.studies.testbeds import SEEDS, at_iterations, cheb

log = logging.getLogger(__name__)

RATE = 0.3
RADII = (0.0, 0.03, 0.1)  # at 0 SAM is gradient descent
STEPS, EVERY = 2000, 100
SHARPNESS = TopEigenvalues(k=2, tolerance=1e-3)


def rows() -> list[dict[str, Any]]:
    """The rows of the study."""
    return study(cheb(), SEEDS, RADII, range(0, STEPS + 1, EVERY))


def _edge(optimizer: SAM, gradient_norm: float) -> float:
    edge = optimizer.edge(gradient_norm)
    assert edge is not None
    return edge / optimizer.learning_rate


def study(
    objective: Objective, seeds: tuple[int, ...], radii: tuple[float, ...], looks: range
) -> list[dict[str, Any]]:
    """One row per (seed, radius ρ, recorded iteration).

    `sharpness` is λ₁(𝓗), `residual` the relative residual of its search, `edge` the sharpness at
    which SAM starts to oscillate at this ‖∇𝓛‖, see `SAM.edge`; 2/η at ρ = 0.
    """
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        start = objective.network.initialize(seed).to(objective.inputs)
        for radius in radii:
            optimizer = SAM(learning_rate=RATE, rho=radius)
            course = at_iterations(objective, optimizer, start, looks)
            for iteration, theta in zip(looks, course, strict=False):
                evaluation = objective.evaluate(theta)
                norm, loss = evaluation.gradient.norm().item(), evaluation.loss
                found = SHARPNESS.measure(objective, theta, iteration, seed)
                rows.append(
                    {
                        "seed": seed,
                        "rho": radius,
                        "iteration": iteration,
                        "loss": loss,
                        "gradient_norm": norm,
                        "sharpness": found["eigenvalue_1"],
                        "residual": found["residual_1"],
                        "edge": _edge(optimizer, norm),
                    }
                )
            log.info("seed %d, ρ %g: λ₁ %.3g", seed, radius, rows[-1]["sharpness"])
    return rows
