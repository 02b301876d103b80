"""How two subspaces compare, and in which directions a symmetric matrix is large."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


def subspace_overlap(first: Tensor, second: Tensor) -> float:
    """(1/k)‖VᵀW‖²_F of orthonormal V, W (P, k): 1 if they span the same, 0 if orthogonal.

    The mean squared cosine of the principal angles. It is blind to a rotation within the span, so
    it can be trusted where λ₁ ≈ λ₂; for k = 1 it is ⟨v, w⟩². Two random subspaces have k/P on
    average.

    Raises: ValueError if V and W have not the same shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"subspaces of shapes {tuple(first.shape)} and {tuple(second.shape)}")
    return (first.T @ second).square().sum().item() / first.shape[1]


class Blocks(NamedTuple):
    """Frobenius norms of the blocks of a symmetric A along orthonormal V (P, k).

    `within` ‖VᵀAV‖; `across` √2‖V⊥ᵀAV‖, of both off-diagonal blocks; `bulk` ‖V⊥ᵀAV⊥‖. Their
    squares add to ‖A‖²_F.
    """

    within: float
    across: float
    bulk: float


def block_norms(matrix: Tensor, vectors: Tensor) -> Blocks:
    """The blocks of a dense symmetric A (P, P) along V (P, k)."""
    image = matrix @ vectors
    inner = vectors.T @ image
    beside = image - vectors @ inner  # V⊥V⊥ᵀAV
    # Taken away and not found as a difference of norms, which would cancel.
    rest = matrix - vectors @ image.T - beside @ vectors.T
    across = 2**0.5 * beside.norm().item()
    return Blocks(inner.norm().item(), across, rest.norm().item())
