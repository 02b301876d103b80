"""The spectra of 𝓗 and G on cheb-4 around an instability, and where small steps end instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import StopCriteria
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.spectra.density import MarchenkoPastur, probes, spectrum
from eosflow.spectra.randomness import generator
from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.spectral_density import SMALL_STEPS
from eosflow.studies.testbeds import SEEDS, cheb, dense, initial, sharpness, trajectory

RATE = 0.4
SHORTER = 20  # small steps to one of gradient descent
LONGEST = 2000  # iterations within which the sharpness crosses 2/η
EVERY = 10  # iterations between two evaluations of the sharpness
WITHIN = 60  # iterations from the first rise of the loss to its peak, and on to the end
PROBES, NODES = 20, 60
POINTS = 40  # at which eigenvalues are counted, on each side of 0


def rows(seeds: tuple[int, ...] = SEEDS) -> Iterator[dict[str, Any]]:
    """Rows of three kinds; of the first seed also the counts.

    `numbers`, one per seed, phase and matrix: `before`, when λ₁(𝓗) crosses 2/η, `in`, when the loss
    then peaks, `after`, 60 iterations later. `ends`, one per seed and method: where each is after
    the same flow time from `before`. `counts`: how many eigenvalues are above `value`.
    """
    objective = cheb()
    for seed in seeds:
        moments = phases(objective, seed, RATE)
        for phase, (iteration, theta) in moments.items():
            evaluation = objective.evaluate(theta)
            for matrix in ("hessian", "gauss_newton"):
                whole = dense(evaluation, matrix)
                shared = {"seed": seed, "phase": phase, "matrix": matrix, "iteration": iteration}
                shared["loss"] = evaluation.loss
                numbers, counts = _seen(whole, objective.examples, f"{matrix} {phase}", seed)
                yield {"kind": "numbers", **shared, **numbers}
                if seed == seeds[0]:
                    yield from ({"kind": "counts", **shared, **row} for row in counts)
        if "after" in moments:
            yield from ends(objective, seed, RATE, moments)


def ends(
    objective: Objective, seed: int, rate: float, moments: dict[str, tuple[int, Tensor]]
) -> Iterator[dict[str, Any]]:
    """Where each method is after the flow time that the instability takes, from its beginning."""
    (first, start), (last, _) = moments["before"], moments["after"]
    methods: dict[str, Optimizer] = {
        DESCENT: GradientDescent(learning_rate=rate),
        SMALL_STEPS: GradientDescent(learning_rate=rate / SHORTER),
        FLOW: ExponentialRosenbrock(),
    }
    steps = last - first
    ends: dict[str, StopCriteria | int] = {
        DESCENT: steps,
        SMALL_STEPS: steps * SHORTER,
        FLOW: StopCriteria(flow_time=steps * rate),
    }
    for method, optimizer in methods.items():
        (state,) = trajectory(objective, optimizer, start, [ends[method]], seed=seed)
        evaluation = objective.evaluate(state.theta)
        largest = torch.linalg.eigvalsh(dense(evaluation, "hessian"))[-1].item()
        row = {"kind": "ends", "seed": seed, "method": method, "iteration": last}
        yield row | {"loss": evaluation.loss, "largest": largest}


def phases(objective: Objective, seed: int, rate: float) -> dict[str, tuple[int, Tensor]]:
    """Iteration and θ (P,) of each phase of the first instability; those that come."""
    descent = GradientDescent(learning_rate=rate)
    start, moments = initial(objective, seed), dict[str, tuple[int, Tensor]]()
    for state in trajectory(objective, descent, start, range(0, LONGEST + 1, EVERY)):
        found = sharpness(objective, state.theta, state.iteration, seed)
        if found["sharpness"] * rate >= 2:
            moments["before"] = state.iteration, state.theta
            break
    else:
        return moments
    first, theta = moments["before"]
    # From here on every step is recorded.
    path: list[tuple[float, Tensor]] = []
    rise = LONGEST
    for number, state in enumerate(trajectory(objective, descent, theta, range(LONGEST))):
        path.append((objective.evaluate(state.theta).loss, state.theta))
        if rise == LONGEST and number and path[-1][0] > path[-2][0]:
            rise = number
        if number == rise + 2 * WITHIN:
            peak = max(range(rise, rise + WITHIN), key=lambda number: path[number][0])
            for phase, step in (("in", peak), ("after", peak + WITHIN)):
                moments[phase] = first + step, path[step][1]
            break
    return moments


def bulk(values: Tensor, ratio: float) -> MarchenkoPastur | None:
    """The law whose σ² is the mean of the eigenvalues (P,) up to its own edge; None if σ² ≤ 0.

    Eigenvalues above the edge are outliers and are left out until none is left to leave out.
    """
    kept = values
    while kept.mean() > 0:
        law = MarchenkoPastur(kept.mean().item(), ratio)
        inside = kept[kept <= law.edges[1]]
        if len(inside) == len(kept):
            return law
        kept = inside
    return None


def _seen(
    matrix: Tensor, examples: int, purpose: str, seed: int
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The numbers of a matrix (P, P) by quadrature and from its eigenvalues; its counts."""
    size = len(matrix)
    rows = probes(size, PROBES, matrix, generator(seed, purpose))
    quadrature = spectrum(lambda block, out: torch.mm(matrix, block, out=out), rows, NODES)
    values = torch.linalg.eigvalsh(matrix)
    trace, norm = quadrature.trace(lambda nodes: nodes), quadrature.frobenius_norm()
    law = bulk(values, size / examples)
    numbers = {
        "trace": trace.value,
        "trace_error": trace.error,
        "trace_exact": values.sum().item(),
        "frobenius_norm": norm.value,
        "frobenius_norm_error": norm.error,
        "frobenius_norm_exact": values.norm().item(),
        "largest": values[-1].item(),
        "smallest": values[0].item(),
    }
    if law is not None:
        high = law.edges[1]
        outliers, inside = quadrature.above(high), values[values <= high]
        numbers |= {
            "edge": high,
            "outliers": outliers.value,
            "outliers_error": outliers.error,
            "outliers_exact": float((values > high).sum()),
            "largest_inside": inside[-1].item(),
            "second_moment_over_law": inside.square().mean().item() / law.second_moment,
        }
    size_of_side = torch.logspace(-4, 0, POINTS, dtype=torch.float64) * 1.2 * values.abs().max()
    counts = []
    for value in [*(-size_of_side.flip(0)).tolist(), 0.0, *size_of_side.tolist()]:
        above = quadrature.above(value)
        row = {"value": value, "count": above.value, "count_error": above.error}
        row["count_exact"] = float((values > value).sum())
        counts.append(row | ({"law": _above(law, value, size)} if law is not None else {}))
    return numbers, counts


def _above(law: MarchenkoPastur, value: float, size: int) -> float:
    """How many of `size` eigenvalues of the law are above a value."""
    low, high = law.edges
    if value < 0:
        return float(size)
    values = torch.linspace(max(low, value), high, 2001, dtype=torch.float64)
    return size * torch.trapezoid(law.density(values), values).item() if value < high else 0.0
