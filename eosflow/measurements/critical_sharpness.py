"""The sharpness that a line search finds: 2/η of the shortest step that raises the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Columns, count, curvature, flag

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective

TOLERANCE = 1e-3  # of the critical step, relative
# A search gives up at steps so many times longer or shorter than its first.
FARTHEST = 2.0**30
GROWTH = 4.0
ROUNDING = 10.0  # of a difference of losses, in units of their last place


class Critical(NamedTuple):
    """λ_c = 2/η_c to within ± `error`, and how many forward passes found it.

    `converged`: the error is at most 0.001 λ_c. It is not if the loss rises nowhere (λ_c lies
    between 0 and 2 `sharpness`), or if it falls nowhere or by less than rounding.
    """

    sharpness: float
    error: float
    forward_passes: int
    converged: bool


NOTHING_FALLS = Critical(0.0, 0.0, 0, False)


class CriticalSharpness(Measurement):
    """λ_c = 2/η_c, η_c the shortest step along −∇𝓛 that raises the loss. No second derivative.

    Implements: C6. On a quadratic loss it is gᵀ𝓗g/gᵀg, g = ∇𝓛: the curvature along the step of
    gradient descent, at most λ₁(𝓗). The search takes about five forward passes.
    Source: Kalra et al., A scalable measure of loss landscape curvature, arXiv:2601.16979.

    >>> import torch, eosflow
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> problem = eosflow.Problem(net, "half_squared_error", (torch.eye(2), torch.zeros(2, 1)))
    >>> record = eosflow.CriticalSharpness().measure(problem.objective, problem.theta, 0, 0)
    >>> round(record["critical_sharpness"], 3)
    0.5
    """

    name: ClassVar[str] = "critical-sharpness"

    def columns(self, outputs: int) -> Columns:
        return (
            curvature(
                "critical_sharpness",
                "λ_c",
                "2/η_c, η_c the shortest step along −∇𝓛 that raises 𝓛 (C6)",
            ),
            curvature("critical_sharpness_error", "–", "largest error that λ_c can have"),
            count("forward_passes", "evaluations of 𝓛 that the search took", "evaluations"),
            flag("converged", "whether the error is at most 0.001 λ_c"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); where no step lowers the loss, λ_c is 0 and not converged."""
        evaluation = objective.evaluate(theta)
        critical = critical_sharpness(objective, evaluation, evaluation.gradient)
        return {
            "critical_sharpness": critical.sharpness,
            "critical_sharpness_error": critical.error,
            "forward_passes": critical.forward_passes,
            "converged": critical.converged,
        }


def critical_sharpness(objective: Objective, evaluation: Evaluation, direction: Tensor) -> Critical:
    """2/η_c, η_c the shortest η at which 𝓛(θ − ηd) > 𝓛(θ), for an optimizer's direction d (P,).

    Implements: C6. The optimizer's step is −ηd, such as d = ∇𝓛 for gradient descent or
    d = m̂/(√v̂ + ε) for Adam; compare λ_c with 2/η. On a quadratic loss λ_c = dᵀ𝓗d/∇𝓛ᵀd. The search
    goes by factors of four first: a loss that rises and falls between two of its steps goes unseen.
    """
    import torch

    theta, loss = evaluation.theta, evaluation.loss
    slope = -(evaluation.gradient * direction).sum().item()
    if slope >= 0:
        return NOTHING_FALLS
    rounding = ROUNDING * torch.finfo(theta.dtype).eps * abs(loss)
    # Exact for a quadratic of one dimension whose least value is 0.
    first = -4 * loss / slope if loss > 0 else 1.0
    return _search(
        lambda size: objective.loss(theta - size * direction) - loss, slope, first, rounding
    )


def _search(
    change: Callable[[float], float], slope: float, first: float, rounding: float
) -> Critical:
    """2 over the first positive root of change(η), which is known to ± `rounding`."""
    from scipy.optimize import brentq

    passes = 0

    def mean_slope(size: float) -> float:
        """change(η)/η, linear on a quadratic: one secant finds its root."""
        nonlocal passes
        passes += 1
        mean = change(size) / size
        return mean if math.isfinite(mean) else -slope  # beyond all numbers: it has risen

    low, high, size = 0.0, math.inf, first
    while low == 0 or high == math.inf:
        here = mean_slope(size)
        if here > 0:
            high = size
            # The secant from 0, unless that is much shorter: what rises may rise steeply.
            size *= max(1 / GROWTH, min(0.9, slope / (slope - here)))
        else:
            low = size
            size *= GROWTH
        if low == 0 and high < first / FARTHEST:
            return NOTHING_FALLS._replace(forward_passes=passes)
        if high == math.inf and low > first * FARTHEST:
            return Critical(1 / low, 1 / low, passes, False)
    tiny = 1e-3 * TOLERANCE * low  # brentq adds it to the relative tolerance
    step = brentq(mean_slope, low, high, xtol=tiny, rtol=TOLERANCE / 2)
    error = TOLERANCE / 2 + rounding / (-slope * step)
    return Critical(2 / step, 2 / step * error, passes, error <= TOLERANCE)
