"""How sharp sharpness-aware minimization lets the loss become, beside gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from eosflow.objectives.base import Objective
from eosflow.optimizers.sharpness import SAM
from eosflow.studies.testbeds import SEEDS, cheb, initial, sharpness, trajectory

RATE = 0.3
RADII = (0.0, 0.03, 0.1)  # at 0 SAM is gradient descent
STEPS, EVERY = 2000, 100


def rows(
    objective: Objective | None = None,
    seeds: Iterable[int] = SEEDS,
    radii: Iterable[float] = RADII,
    iterations: range = range(0, STEPS + 1, EVERY),
) -> Iterator[dict[str, Any]]:
    """One row per seed, radius ρ and recorded iteration."""
    objective = objective or cheb()
    for seed in seeds:
        start = initial(objective, seed)
        for radius in radii:
            optimizer = SAM(learning_rate=RATE, rho=radius)
            for state in trajectory(objective, optimizer, start, iterations):
                evaluation = objective.evaluate(state.theta)
                norm = evaluation.gradient.norm().item()
                edge = cast(float, optimizer.edge(norm))
                yield {
                    "seed": seed,
                    "rho": radius,
                    "iteration": state.iteration,
                    "loss": evaluation.loss,
                    "gradient_norm": norm,
                    **sharpness(objective, state.theta, state.iteration, seed),
                    "edge": edge / RATE,
                }
