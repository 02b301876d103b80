"""How many parameters gradient descent on cheb-4 determines, beside how sharp it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from eosflow.measurements.effective_parameters import EffectiveParameters
from eosflow.objectives.base import Objective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.spectra.density import saturated
from eosflow.spectra.randomness import generator
from eosflow.studies.testbeds import SEEDS, cheb, dense, initial, trajectory

RATES = (0.1, 0.2, 0.3, 0.4)
END = 480.0  # flow time, η times the number of steps: the same for all
EVERY = 48.0
MEASURE = EffectiveParameters()
CONDITION = 10.0  # of the change of coordinates


def rows(
    seeds: Iterable[int] = SEEDS, rates: Iterable[float] = RATES, end: float = END
) -> Iterator[dict[str, Any]]:
    """One row per seed, learning rate and recorded flow time, from all eigenvalues of 𝓗 and G."""
    objective = cheb()
    for seed in seeds:
        start = initial(objective, seed)
        for rate in rates:
            times = [mark * EVERY for mark in range(round(end / EVERY) + 1)]
            descent = GradientDescent(learning_rate=rate)
            states = trajectory(objective, descent, start, [round(time / rate) for time in times])
            for time, state in zip(times, states, strict=False):
                which = {"seed": seed, "learning_rate": rate, "flow_time": time}
                numbers = _evaluated(objective, state.theta)
                yield {**which, "iteration": state.iteration, **numbers}


def _evaluated(objective: Objective, theta: Tensor) -> dict[str, float]:
    evaluation = objective.evaluate(theta)
    hessian = torch.linalg.eigvalsh(dense(evaluation, "hessian"))
    matrix = dense(evaluation, "gauss_newton")
    values = torch.linalg.eigvalsh(matrix)
    largest = values[-1].item()
    alpha, relative = MEASURE.alpha, MEASURE.relative_alpha * largest
    numbers = {
        "loss": evaluation.loss,
        "sharpness": hessian[-1].item(),
        "sharpness_gauss_newton": largest,
        "trace": values.sum().item(),
        "effective": saturated(values, alpha).sum().item(),
        "effective_relative": saturated(values, relative).sum().item(),
        "of_hessian": (hessian / (hessian + alpha)).sum().item(),
    }
    return numbers | _in_other_coordinates(matrix, alpha, numbers)


def _in_other_coordinates(
    matrix: Tensor, alpha: float, numbers: dict[str, float]
) -> dict[str, float]:
    """Ratios to what they were, θ = Bφ: G becomes BᵀGB, and the prior α αBᵀB, or stays α."""
    change = coordinates(len(matrix)).to(matrix)
    turned = change.T @ matrix @ change
    prior = alpha * change.T @ change
    moved = torch.linalg.solve(turned + prior, turned).trace().item()
    values = torch.linalg.eigvalsh((turned + turned.T) / 2)
    fixed = saturated(values, alpha).sum().item()
    return {
        "turned_effective": moved / numbers["effective"],
        "turned_effective_same_prior": fixed / numbers["effective"],
        "turned_sharpness": values[-1].item() / numbers["sharpness_gauss_newton"],
        "turned_trace": values.sum().item() / numbers["trace"],
    }


def coordinates(size: int) -> Tensor:
    """B (P, P), with singular values from 1 to `CONDITION` between two random rotations."""
    stream = generator(0, "other coordinates")
    draws = torch.randn(2, size, size, generator=stream, dtype=torch.float64)
    left, right = torch.linalg.qr(draws).Q
    stretch = torch.logspace(0, torch.log10(torch.tensor(CONDITION)).item(), size).to(draws)
    change: Tensor = left * stretch @ right
    return change
