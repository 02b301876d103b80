"""The criteria ℓ(z, y): value, gradient, Hessian product and Hessian square root in z."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.objectives import OF_CLASSES


@dataclass(frozen=True)
class Criterion:
    """ℓ per example, for outputs z (N, C) and targets y, classes (N,) int64 or numbers (N, C).

    value(z, y) (N,); gradient(z, y) = ∂ℓ/∂z (N, C); hessian(z, y) = H_ℓ (N, C, C);
    hessian_product(z, ż, y) = H_ℓ ż for ż (k, N, C). H_ℓ of the criteria of `LOSSES` depends on z
    alone, and y may be left out there.
    """

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    hessian: Callable[..., Tensor]
    hessian_product: Callable[..., Tensor]
    sum_of: Callable[[Tensor, Tensor], Tensor] | None = None

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ ℓ over the examples, a number; by `sum_of` where that is cheaper than `value`."""
        if self.sum_of is not None:
            return self.sum_of(outputs, targets)
        return self.value(outputs, targets).sum()

    def check(self, targets: Tensor) -> None:
        """Raises: ValueError if these targets cannot be the criterion's."""
        if targets.is_floating_point() and self.name in OF_CLASSES:
            raise ValueError(
                f"{self.name} compares classes, whole numbers (N,) int64; these targets are "
                f"{targets.dtype} of shape {tuple(targets.shape)}. For numbers take squared_error."
            )


def _targets(outputs: Tensor, targets: Tensor) -> Tensor:
    """What outputs are compared with (N, C): numbers as they are, classes as one-hot vectors."""
    if targets.is_floating_point():
        return targets.to(outputs.dtype).reshape(outputs.shape)
    # As one_hot, which looks at its numbers and so cannot be mapped over.
    classes = torch.arange(outputs.shape[-1], device=outputs.device)
    return (targets[..., None] == classes).to(outputs.dtype)


def _cross_entropy_hessian(outputs: Tensor, targets: Tensor | None = None) -> Tensor:
    probabilities = outputs.softmax(-1)
    outer = probabilities[..., :, None] * probabilities[..., None, :]
    return torch.diag_embed(probabilities) - outer


def _cross_entropy_product(
    outputs: Tensor, tangents: Tensor, targets: Tensor | None = None
) -> Tensor:
    probabilities = outputs.softmax(-1)
    weighted = probabilities * tangents
    return weighted - probabilities * weighted.sum(-1, keepdim=True)


def _squared_error(name: str, weight: Callable[[Tensor], float]) -> Criterion:
    """ℓ = w Σ_c (z_c − y_c)², w = weight(z); H_ℓ = 2w I."""
    return Criterion(
        name=name,
        value=lambda z, y: weight(z) * (z - _targets(z, y)).square().sum(-1),
        gradient=lambda z, y: 2 * weight(z) * (z - _targets(z, y)),
        hessian=lambda z, y=None: (
            2 * weight(z) * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        ).expand(*z.shape, z.shape[-1]),
        hessian_product=lambda z, tangents, y=None: 2 * weight(z) * tangents,
    )


LOSSES: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        # ℓ = −log softmax(z)_y; H_ℓ = diag(p) − p pᵀ
        Criterion(
            name="cross_entropy",
            value=lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="none"),
            gradient=lambda z, y: z.softmax(-1) - _targets(z, y),
            hessian=_cross_entropy_hessian,
            hessian_product=_cross_entropy_product,
        ),
        _squared_error("squared_error", lambda z: 1.0),  # summed over the outputs
        _squared_error("mean_squared_error", lambda z: 1 / z.shape[-1]),  # averaged over them
        _squared_error("half_squared_error", lambda z: 0.5),
    )
}


def criterion_of(name: str | Criterion) -> Criterion:
    """A criterion by its name, or itself. Raises: ValueError naming those there are."""
    if isinstance(name, Criterion):
        return name
    if name not in LOSSES:
        raise ValueError(f"criterion: {name!r} was given; allowed: {', '.join(LOSSES)}")
    return LOSSES[name]


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of examples whose largest output (N, C) is that of their class.

    NaN if targets are no classes (N,) of several outputs.
    """
    if targets.is_floating_point() or targets.ndim != 1 or outputs.shape[1] == 1:
        return float("nan")
    return (outputs.argmax(1) == targets).sum().item() / len(targets)


def square_root(hessians: Tensor) -> Tensor:
    """The symmetric PSD square root of each H (N, C, C), by its eigendecomposition.

    Round-off makes zero eigenvalues slightly negative (softmax Hessians have one); they count as 0.
    """
    values, vectors = torch.linalg.eigh(hessians)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.mT
    return root
