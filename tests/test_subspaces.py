"""Subspaces, blocks and scans in closed form, on quadratics and small dense matrices."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import null_space, subspace_angles

from eosflow.spectra.subspaces import block_norms, subspace_overlap
from eosflow.studies.instabilities.rows import scan
from eosflow.studies.testbeds import cheb, quadratic


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


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.15])
def test_along_a_step_on_a_quadratic_the_loss_is_known(rate: float) -> None:
    """𝓛 falls by η‖g‖²(α − ½α²ηλ): at ηλ = 2 the step ends as high as it began."""
    theta = torch.tensor([0.3, 0.0], dtype=torch.float64)
    update = torch.tensor([-rate * 20 * 0.3, 0.0], dtype=torch.float64)
    alphas = [-1.0, 0.0, 0.5, 1.0, 2.0]
    square = (20 * 0.3) ** 2
    expected = [10 * 0.3**2 - rate * square * (a - a * a * rate * 20 / 2) for a in alphas]
    found = pd.DataFrame(scan(quadratic((20.0, 1.0)), theta, update, alphas))
    assert found["loss"].tolist() == pytest.approx(expected)
    assert found["quadratic_loss"].tolist() == pytest.approx(expected)
    assert found["curvature"].tolist() == pytest.approx([20] * 5)


def test_beyond_a_quadratic_the_scan_is_of_the_loss_itself() -> None:
    objective = cheb()
    theta = objective.network.initialize(0)
    update = -0.4 * objective.evaluate(theta).gradient
    found = pd.DataFrame(scan(objective, theta, update, [0.0, 1e-3, 1.0, 8.0]))
    assert found["loss"][3] == pytest.approx(objective.evaluate(theta + 8 * update).loss)
    apart = (found["loss"] - found["quadratic_loss"]).abs()
    assert apart[1] < 1e-9 and apart[3] > 1e-3  # third order in the step
