"""The loss along a line through θ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class Scan(NamedTuple):
    """𝓛(θ + αΔθ) for each α, and 𝓛(θ) + α∇𝓛·Δθ + ½α²Δθᵀ𝓗Δθ; `curvature` Δθᵀ𝓗Δθ/‖Δθ‖²."""

    losses: list[float]
    quadratic: list[float]
    curvature: float


def update_scan(
    objective: Objective, theta: Tensor, update: Tensor, factors: Iterable[float]
) -> Scan:
    """The loss from θ (P,) along an update Δθ (P,), θ + Δθ being where the step leads.

    Along −ηg on a quadratic, with g an eigenvector of λ, 𝓛 changes by η‖g‖²(½α²ηλ − α): at
    ηλ = 2 the step ends as high as it began. Raises: ValueError if Δθ = 0.
    """
    length = update.norm().item()
    if not length:
        raise ValueError("the update is 0: there is no direction to search along")
    alphas = list(factors)
    here = objective.evaluate(theta)
    loss, slope = here.loss, (here.gradient @ update).item()
    curvature = (update @ here.hessian(update[:, None])[:, 0]).item()
    losses = []
    for alpha in alphas:
        there = objective.evaluate(theta + alpha * update)
        losses.append(there.loss)
    quadratic = [loss + alpha * slope + alpha**2 * curvature / 2 for alpha in alphas]
    return Scan(losses, quadratic, curvature / length**2)
