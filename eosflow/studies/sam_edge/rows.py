"""How sharp sharpness-aware minimization lets the loss become, beside gradient descent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eosflow.objectives.base import Objective
from eosflow.optimizers.sharpness import SAM
from eosflow.studies.testbeds import SEEDS, cheb, initial, sharpness, trajectory

RATE = 0.3
RADII = (0.0, 0.03, 0.1)  # at 0 SAM is gradient descent
STEPS, EVERY = 2000, 100


def rows() -> Iterator[dict[str, Any]]:
    """The rows of the study."""
    yield from study(cheb(), SEEDS, RADII, range(0, STEPS + 1, EVERY))


def study(
    objective: Objective, seeds: tuple[int, ...], radii: tuple[float, ...], iterations: range
) -> Iterator[dict[str, Any]]:
    """One row per (seed, radius ρ, recorded iteration).

    `sharpness` is λ₁(𝓗), `residual` the relative residual of its search, `edge` the sharpness at
    which SAM starts to oscillate at this ‖∇𝓛‖, see `SAM.edge`; 2/η at ρ = 0.
    """
    for seed in seeds:
        start = initial(objective, seed)
        for radius in radii:
            optimizer = SAM(learning_rate=RATE, rho=radius)
            for state in trajectory(objective, optimizer, start, iterations):
                evaluation = objective.evaluate(state.theta)
                norm = evaluation.gradient.norm().item()
                edge = optimizer.edge(norm)
                assert edge is not None
                yield {
                    "seed": seed,
                    "rho": radius,
                    "iteration": state.iteration,
                    "loss": evaluation.loss,
                    "gradient_norm": norm,
                    **sharpness(objective, state.theta, state.iteration, seed),
                    "edge": edge / RATE,
                }
