"""The spectra of 𝓗 and G on cheb-4 before, in and after an instability of gradient descent."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import torch
from torch import Tensor

from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.objectives.base import Objective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.spectra.density import MarchenkoPastur, probes, spectrum
from eosflow.spectra.randomness import generator
from eosflow.studies.testbeds import at_iterations, cheb, dense

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2, 3, 4)
RATE = 0.4
LONGEST = 2000  # iterations within which the sharpness crosses 2/η
LOOK = 10  # iterations between two looks at the sharpness
WITHIN = 60  # iterations from the first rise of the loss to its peak, and on to the end
PROBES, NODES = 20, 60
GRID, WIDTH = 400, 0.02  # points of the drawn density; its smoothing, of λ₁ − λ_P
SHARPNESS = TopEigenvalues(k=2, tolerance=1e-3)


def rows() -> list[dict[str, Any]]:
    """The rows of the study."""
    return study(cheb(), SEEDS, RATE)


def study(objective: Objective, seeds: tuple[int, ...], rate: float) -> list[dict[str, Any]]:
    """One row per (seed, phase, matrix) of kind `numbers`, and of the first seed the density.

    Phases: `before` where λ₁(𝓗) crosses 2/η, `in` where the loss then peaks, `after` 60 iterations
    later. `numbers`: each quantity by Lanczos quadrature, its standard error, and as it is.
    `density` rows: at `value` the smoothed density of the eigenvalues, its error, and the
    Marchenko–Pastur density of the same mean.
    """
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for phase, (iteration, theta) in phases(objective, seed, rate).items():
            evaluation = objective.evaluate(theta)
            for matrix in ("hessian", "gauss_newton"):
                whole = dense(evaluation, matrix)
                place = {"seed": seed, "phase": phase, "matrix": matrix, "iteration": iteration}
                place["loss"] = evaluation.loss
                found = _look(whole, objective.examples, f"{matrix} {phase}", seed)
                numbers, density = found
                rows.append({"kind": "numbers", **place, **numbers})
                if seed == seeds[0]:
                    rows += [{"kind": "density", **place, **row} for row in density]
                log.info("seed %d, %s, %s: λ₁ %.3g", seed, phase, matrix, numbers["largest"])
    return rows


def phases(objective: Objective, seed: int, rate: float) -> dict[str, tuple[int, Tensor]]:
    """Iteration and θ (P,) of each phase of the first instability; those that come."""
    descent = GradientDescent(learning_rate=rate)
    start = objective.network.initialize(seed).to(objective.inputs)
    looks = range(0, LONGEST + 1, LOOK)
    found: dict[str, tuple[int, Tensor]] = {}
    for iteration, theta in zip(
        looks, at_iterations(objective, descent, start, looks), strict=False
    ):
        sharpness = SHARPNESS.measure(objective, theta, iteration, seed)["eigenvalue_1"]
        if sharpness * rate >= 2:
            found["before"] = iteration, theta
            break
    if not found:
        return found
    # From here on every step is looked at.
    steps = at_iterations(objective, descent, theta, itertools.count())
    path: list[tuple[float, Tensor]] = []
    rise = None
    for number, here in enumerate(itertools.islice(steps, LONGEST)):
        path.append((objective.evaluate(here).loss, here))
        if rise is None and number and path[-1][0] > path[-2][0]:
            rise = number
        if rise is not None and number == rise + 2 * WITHIN:
            break
    if rise is None or len(path) <= rise + 2 * WITHIN:
        return found
    peak = max(range(rise, rise + WITHIN), key=lambda number: path[number][0])
    for phase, number in (("in", peak), ("after", peak + WITHIN)):
        found[phase] = iteration + number, path[number][1]
    return found


def _look(
    matrix: Tensor, examples: int, purpose: str, seed: int
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The numbers of a matrix (P, P) by quadrature and as they are; the rows of its density."""
    size = len(matrix)
    rows = probes(size, PROBES, matrix, generator(seed, purpose))
    found = spectrum(lambda block, out: torch.mm(matrix, block, out=out), rows, NODES)
    values = torch.linalg.eigvalsh(matrix)
    trace, norm = found.trace(lambda nodes: nodes), found.frobenius_norm()
    law = MarchenkoPastur(values.mean().item(), size / examples)
    high = law.edges[1]
    outliers = found.above(high)
    numbers = {
        "trace": trace.value,
        "trace_error": trace.error,
        "trace_exact": values.sum().item(),
        "frobenius_norm": norm.value,
        "frobenius_norm_error": norm.error,
        "frobenius_norm_exact": values.norm().item(),
        "edge": high,
        "outliers": outliers.value,
        "outliers_error": outliers.error,
        "outliers_exact": float((values > high).sum()),
        "largest": values[-1].item(),
        "smallest": values[0].item(),
        "second_moment_over_law": values.square().mean().item() / law.second_moment,
    }
    span = (values[-1] - values[0]).item()
    grid = torch.linspace(
        values[0].item() - 0.1 * span, values[-1].item() + 0.1 * span, GRID, dtype=torch.float64
    )
    density, errors = found.smoothed(grid, WIDTH * span)
    columns = {"value": grid, "density": density, "density_error": errors, "law": law.density(grid)}
    table = [
        dict(zip(columns, numbers, strict=True))
        for numbers in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
    return numbers, table
