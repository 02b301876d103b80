"""Subspaces and blocks in closed form, on small dense matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import null_space, subspace_angles

from eosflow.spectra.subspaces import block_norms, subspace_overlap


def orthonormal(size: int, k: int, seed: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, k, generator=stream, dtype=torch.float64)).Q


def test_overlap_is_the_mean_squared_cosine_of_the_principal_angles() -> None:
    first, second = orthonormal(9, 3, 0), orthonormal(9, 3, 1)
    angles = subspace_angles(first.numpy(), second.numpy())
    assert subspace_overlap(first, second) == pytest.approx(np.mean(np.cos(angles) ** 2))
    turn = orthonormal(3, 3, 2)
    assert subspace_overlap(first, first @ turn) == pytest.approx(1, rel=1e-14)
    whole = orthonormal(6, 6, 3)
    assert subspace_overlap(whole[:, :3], whole[:, 3:]) == pytest.approx(0, abs=1e-28)
    angle = 0.3
    plane = torch.tensor([[1.0, math.cos(angle)], [0.0, math.sin(angle)]], dtype=torch.float64)
    assert subspace_overlap(plane[:, :1], plane[:, 1:]) == pytest.approx(math.cos(angle) ** 2)
    with pytest.raises(ValueError, match="shapes"):
        subspace_overlap(first, second[:, :2])


def test_blocks_are_those_in_a_basis_of_the_whole_space() -> None:
    vectors = orthonormal(8, 3, 4)
    matrix = torch.randn(8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    matrix = matrix + matrix.T
    found = block_norms(matrix, vectors)
    beside = torch.from_numpy(null_space(vectors.T.numpy()))
    assert found.within == pytest.approx((vectors.T @ matrix @ vectors).norm().item())
    assert found.across == pytest.approx(2**0.5 * (beside.T @ matrix @ vectors).norm().item())
    assert found.bulk == pytest.approx((beside.T @ matrix @ beside).norm().item())
    assert sum(norm**2 for norm in found) == pytest.approx(matrix.square().sum().item())
    # A change along the directions themselves is in no other block.
    diagonal = vectors @ torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)) @ vectors.T
    assert block_norms(diagonal, vectors)[1:] == pytest.approx((0, 0), abs=1e-14)
