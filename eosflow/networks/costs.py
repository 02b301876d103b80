"""What the two operations of a step cost, in floating-point operations. Stdlib only."""

from __future__ import annotations

import itertools


def product_operations(dimensions: tuple[int, ...], examples: int, vectors: int) -> int:
    """Operations of one product with 𝓗: 6 passes over each weight, 2 over those of layer 1.

    Per example and vector: Ẇa and Wȧ on the way forward; two outer products, δ̇ aᵀ and δ ȧᵀ, and
    Wᵀδ̇, Ẇᵀδ on the way back. In layer 1 only Ẇa and δ̇ aᵀ are left: its input does not change.
    `dimensions` are d_0 … d_L.
    """
    weights = _weights(dimensions)
    return 2 * examples * vectors * (6 * sum(weights) - 4 * weights[0])


def gradient_operations(dimensions: tuple[int, ...], examples: int) -> int:
    """Operations of the loss and its gradient: 3 passes over each weight, 2 in the first layer."""
    weights = _weights(dimensions)
    return 2 * examples * (3 * sum(weights) - weights[0])


def _weights(dimensions: tuple[int, ...]) -> list[int]:
    return [out * into for into, out in itertools.pairwise(dimensions)]
