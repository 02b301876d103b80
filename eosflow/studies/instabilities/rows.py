"""One instability of gradient descent, step by step, and the quadratic where all is exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eosflow.objectives.base import Objective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.spectra.eigenpairs import EigenPairs
from eosflow.spectra.subspaces import block_norms, subspace_overlap
from eosflow.studies.testbeds import (
    SEEDS,
    Tracker,
    cheb,
    dense,
    initial,
    of_matrix,
    quadratic,
    trajectory,
)

QUADRATIC, COURSE, SCAN = "quadratic", "course", "scan"  # what a row is of
EIGENVALUES = (20.0, 1.0)
RATES = (0.05, 0.09, 0.099, 0.1, 0.101, 0.11)  # about 2/20
QUADRATIC_STEPS = 500

LEARNING_RATE = 0.4
PAIRS = 5
EVERY = 10  # steps between two evaluations of pairs, and between two Hessians that are compared
MOST = 4000  # steps in which the instability has to come
STABLE = 100  # steps before it that stand for the stable phase
AFTER = 30  # steps behind it
ALPHAS = [step / 20 for step in range(-20, 41)]


def rows() -> Iterator[dict[str, Any]]:
    objective = cheb()
    yield from quadratic_rows()
    for seed in SEEDS:
        yield from study(objective, seed)


def quadratic_rows() -> Iterator[dict[str, Any]]:
    """One row per learning rate."""
    objective = quadratic(EIGENVALUES)
    start = objective.network.initialize(0)
    first = objective.evaluate(start).loss
    for rate in RATES:
        descent = GradientDescent(learning_rate=rate)
        (state,) = trajectory(objective, descent, start, [QUADRATIC_STEPS])
        growth = objective.evaluate(state.theta).loss / first
        yield {"part": QUADRATIC, "learning_rate": rate, "growth": growth}


@dataclass
class Path:
    """A descent: θ and loss at each step, the top pairs of 𝓗 every `EVERY` steps.

    The instability begins with the first of these at which λ₁η ≥ 2 (`begins`) and ends with the
    first after it at which λ₁η < 2 (`ends`).
    """

    thetas: list[Tensor]
    losses: list[float]
    pairs: dict[int, EigenPairs]  # by the step
    begins: int = -1
    ends: int = -1


def descend(objective: Objective, seed: int) -> Path | None:
    """Gradient descent through its first instability; None if none ends within `MOST` steps."""
    descent, tracker = GradientDescent(learning_rate=LEARNING_RATE), Tracker(PAIRS)
    path = Path([], [], {})
    for state in trajectory(objective, descent, initial(objective, seed), range(MOST + AFTER + 1)):
        step, theta = state.iteration, state.theta
        evaluation = objective.evaluate(theta)
        path.thetas.append(theta)
        path.losses.append(evaluation.loss)
        if step % EVERY == 0:
            path.pairs[step] = tracker.find(of_matrix(dense(evaluation, "hessian")), theta)
            beyond = path.pairs[step].values[0].item() * LEARNING_RATE >= 2
            if path.begins < 0 and beyond:
                path.begins = step
            elif path.begins >= 0 and path.ends < 0 and not beyond:
                path.ends = step
        if path.ends >= 0 and step == path.ends + AFTER:
            return path
    return None


def study(objective: Objective, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the trajectory and of three scans, from a start by `seed`; none if none comes."""
    if path := descend(objective, seed):
        for row in (*course_rows(objective, path), *scan_rows(objective, path)):
            yield {"seed": seed, "learning_rate": LEARNING_RATE, **row}


def course_rows(objective: Objective, path: Path) -> Iterator[dict[str, Any]]:
    """One row per step from `STABLE` before the instability to `AFTER` behind it."""
    first, last = max(2, path.begins - STABLE), path.ends + AFTER
    along = oscillation(path.thetas, path.pairs[path.begins].vectors[:, 0])
    for step in range(first, last - 1):
        row = {"part": COURSE, "iteration": step - path.begins, "loss": path.losses[step]}
        row |= {"step": step, "place": _place(path, step), "swing": along[step]}
        if step in path.pairs:
            pairs = path.pairs[step]
            values = pairs.values.tolist()
            row |= {"sharpness": values[0], "second": values[1]}
            row["residual"] = pairs.relative_residual
            if step + EVERY <= last:
                row |= compared(objective, path, step, step + EVERY)
        yield row


def _place(path: Path, step: int) -> str:
    return "stable" if step < path.begins else "unstable" if step < path.ends else "after"


def oscillation(thetas: list[Tensor], direction: Tensor) -> list[float]:
    """⟨q₁, θ_t − θ_ref⟩ per step, θ_ref = (−θ_{t−2} + 4θ_{t−1} + 10θ_t + 4θ_{t+1} − θ_{t+2})/16.

    A motion that alternates in sign from step to step has θ_ref = 0; a drift that is a cubic in t
    has θ_ref = θ_t and leaves nothing. 0 at the two ends, where θ_ref is not known.
    """
    along = torch.stack(thetas) @ direction
    inner = along[:-4] - 4 * along[1:-3] + 6 * along[2:-2] - 4 * along[3:-1] + along[4:]
    return [0.0, 0.0, *(inner / 16).tolist(), 0.0, 0.0]


def compared(objective: Objective, path: Path, before: int, after: int) -> dict[str, float]:
    """How much 𝓗 changes between two steps, and where."""
    first, second = (
        dense(objective.evaluate(path.thetas[step]), "hessian") for step in (before, after)
    )
    difference = second - first
    vectors, later = path.pairs[before].vectors, path.pairs[after].vectors
    change = difference.norm().item()
    within, across, bulk = (norm**2 / change**2 for norm in block_norms(difference, vectors))
    return {
        "change": change / first.norm().item(),
        "within": within,
        "across": across,
        "bulk": bulk,
        "turned": 1 - (vectors[:, 0] @ later[:, 0]).abs().item(),
        "lost": 1 - subspace_overlap(vectors, later),
    }


def scan_rows(objective: Objective, path: Path) -> Iterator[dict[str, Any]]:
    """One row per α and scan, `EVERY` steps before the instability begins and ends, and behind."""
    marks = {"stable": path.begins, "unstable": path.ends, "after": path.ends + 2 * EVERY}
    for place, mark in marks.items():
        step = mark - EVERY
        theta, update = path.thetas[step], path.thetas[step + 1] - path.thetas[step]
        row = {"part": SCAN, "place": place, "iteration": step - path.begins, "step": step}
        row["sharpness"] = path.pairs[step].values[0].item()
        yield from ({**row, **numbers} for numbers in scan(objective, theta, update, ALPHAS))


def scan(
    objective: Objective, theta: Tensor, update: Tensor, alphas: Iterable[float]
) -> Iterator[dict[str, float]]:
    """𝓛(θ + αΔθ) and 𝓛(θ) + α∇𝓛·Δθ + ½α²Δθᵀ𝓗Δθ; `curvature` is Δθᵀ𝓗Δθ/‖Δθ‖²."""
    here, length = objective.evaluate(theta), update.norm().item()
    loss, slope = here.loss, (here.gradient @ update).item()
    curvature = (update @ here.hessian(update[:, None])[:, 0]).item()
    for alpha in alphas:
        yield {
            "curvature": curvature / length**2,
            "alpha": alpha,
            "loss": objective.evaluate(theta + alpha * update).loss,
            "quadratic_loss": loss + alpha * slope + alpha**2 * curvature / 2,
        }
