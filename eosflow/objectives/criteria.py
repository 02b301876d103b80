"""The criteria ℓ(z, y): value, gradient, Hessian product and Hessian square root in z."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Criterion:
    """ℓ per example, for outputs z (N, C) and labels y (N,) int64.

    value(z, y) (N,); gradient(z, y) = ∂ℓ/∂z (N, C); hessian(z) = H_ℓ (N, C, C), which depends on
    z alone for each criterion; hessian_product(z, ż) = H_ℓ ż for ż (k, N, C).
    """

    value: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    hessian: Callable[[Tensor], Tensor]
    hessian_product: Callable[[Tensor, Tensor], Tensor]


def _one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)


def _cross_entropy_hessian(outputs: Tensor) -> Tensor:
    probabilities = outputs.softmax(1)
    return torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None, :]


def _cross_entropy_product(outputs: Tensor, tangents: Tensor) -> Tensor:
    probabilities = outputs.softmax(1)
    weighted = probabilities * tangents
    return weighted.sub_(probabilities * weighted.sum(-1, keepdim=True))


def _squared_error(weight: Callable[[Tensor], float]) -> Criterion:
    """ℓ = w Σ_c (z_c − [c = y])², w = weight(z); H_ℓ = 2w I."""
    return Criterion(
        value=lambda z, y: weight(z) * (z - _one_hot(z, y)).square().sum(1),
        gradient=lambda z, y: 2 * weight(z) * (z - _one_hot(z, y)),
        hessian=lambda z: (
            2 * weight(z) * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        ).repeat(len(z), 1, 1),
        hessian_product=lambda z, tangents: 2 * weight(z) * tangents,
    )


CRITERIA: dict[str, Criterion] = {
    # ℓ = −log softmax(z)_y; H_ℓ = diag(p) − p pᵀ
    "cross_entropy": Criterion(
        value=lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="none"),
        gradient=lambda z, y: z.softmax(1) - _one_hot(z, y),
        hessian=_cross_entropy_hessian,
        hessian_product=_cross_entropy_product,
    ),
    "squared_error": _squared_error(lambda z: 1.0),  # summed over the outputs
    "mean_squared_error": _squared_error(lambda z: 1 / z.shape[1]),  # averaged over them
}


def square_root(hessians: Tensor) -> Tensor:
    """The symmetric PSD square root of each H (N, C, C), by its eigendecomposition.

    Round-off makes zero eigenvalues slightly negative (softmax Hessians have one); they count as 0.
    """
    values, vectors = torch.linalg.eigh(hessians)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.mT
    return root
