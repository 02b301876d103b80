"""Eigenpairs against dense decompositions, where LK24's power iteration would fail too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import EigenPairs, Operator, random_start, top_eigenpairs
from eosflow.spectra.rows import orthonormalize

SIZE = 200


def matrix(eigenvalues: Tensor) -> Tensor:
    stream = torch.Generator().manual_seed(5)
    noise = torch.randn(len(eigenvalues), len(eigenvalues), generator=stream, dtype=torch.float64)
    vectors = torch.linalg.qr(noise).Q
    return (vectors * eigenvalues) @ vectors.T


def operator(dense: Tensor) -> Operator:
    return lambda block, out: out.copy_(dense @ block)


def solve(dense: Tensor, k: int, rtol: float = 1e-9, limit: int = 500) -> EigenPairs:
    return top_eigenpairs(operator(dense), random_start(len(dense), k, dense), rtol, limit)


SPECTRA = {
    "separated": torch.cat([torch.tensor([100.0, 50, 25, 12]), torch.linspace(3, -1, SIZE - 4)]),
    "tied": torch.cat([torch.tensor([9.0, 9, 9, 5]), torch.linspace(3, 0, SIZE - 4)]),
    "negative dominant": torch.cat([torch.tensor([10.0, 8, 6]), torch.linspace(2, -40, SIZE - 3)]),
    "ties of both signs": torch.cat([torch.tensor([10.0, 8, -8, -10]), torch.zeros(SIZE - 4)]),
    "all negative": torch.linspace(-1, -50, SIZE),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("k", [1, 3])
def test_values_residuals_and_vectors_equal_a_dense_solution(name: str, k: int) -> None:
    dense = matrix(SPECTRA[name].double())
    pairs = solve(dense, k)
    assert pairs.converged
    expected = torch.linalg.eigvalsh(dense).flip(0)[:k]
    torch.testing.assert_close(pairs.values, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(pairs.images, dense @ pairs.vectors, rtol=0, atol=1e-10)
    identity = torch.eye(k, dtype=torch.float64)
    torch.testing.assert_close(pairs.vectors.T @ pairs.vectors, identity, rtol=0, atol=1e-12)
    residuals = (dense @ pairs.vectors - pairs.vectors * pairs.values).norm(dim=0)
    torch.testing.assert_close(pairs.residuals, residuals, rtol=0, atol=1e-10)
    assert pairs.relative_residual <= 1e-9


@pytest.mark.parametrize("name", SPECTRA)
def test_an_unconverged_answer_says_so_and_its_residual_bounds_the_error(name: str) -> None:
    dense = matrix(SPECTRA[name].double())
    pairs = solve(dense, k=3, rtol=1e-12, limit=2)
    assert not pairs.converged
    assert pairs.applications == 2
    spectrum = torch.linalg.eigvalsh(dense)
    for value, residual in zip(pairs.values, pairs.residuals, strict=True):
        assert (spectrum - value).abs().min() <= residual * (1 + 1e-12)


def test_a_good_start_costs_one_product() -> None:
    dense = matrix(SPECTRA["separated"].double())
    first = solve(dense, k=3)
    again = top_eigenpairs(operator(dense), first.warm_start(), 1e-8, 100)
    assert again.converged
    assert again.applications == 1


def test_the_smallest_ritz_value_reveals_a_dominant_negative_eigenvalue() -> None:
    pairs = solve(matrix(SPECTRA["negative dominant"].double()), k=3)
    assert -pairs.smallest > pairs.values[0]
    assert solve(matrix(SPECTRA["separated"].double()), k=3).smallest > -100


def test_zero_operator_has_zero_eigenvalues_and_no_nan() -> None:
    pairs = solve(torch.zeros(20, 20, dtype=torch.float64), k=4)
    assert pairs.converged
    assert pairs.values.tolist() == [0, 0, 0, 0]
    assert pairs.relative_residual == 0


def test_a_dependent_start_block_is_completed() -> None:
    dense = matrix(SPECTRA["separated"].double())
    column = torch.ones(SIZE, 1, dtype=torch.float64)
    pairs = top_eigenpairs(operator(dense), column.repeat(1, 3), 1e-9, 200)
    expected = torch.linalg.eigvalsh(dense).flip(0)[:3]
    torch.testing.assert_close(pairs.values, expected, rtol=1e-9, atol=1e-9)


def test_as_many_pairs_as_the_operator_has() -> None:
    dense = torch.diag(torch.arange(6.0, dtype=torch.float64))
    assert solve(dense, k=6).values.tolist() == pytest.approx([5, 4, 3, 2, 1, 0], abs=1e-12)
    with pytest.raises(ValueError, match="7 eigenpairs asked of an operator of size 6"):
        solve(dense, k=7)


def test_single_precision_keeps_six_digits_over_many_entries() -> None:
    # Sums over the entries in float32 would keep four.
    diagonal = torch.linspace(0, 1, 400_000, dtype=torch.float64).sqrt()
    diagonal[-3:] = torch.tensor([7.0, 5.0, 3.0])
    rounded = diagonal.float()[:, None]

    def product(block: Tensor, out: Tensor) -> Tensor:
        return torch.mul(block, rounded, out=out)

    pairs = top_eigenpairs(product, random_start(400_000, 3, rounded), 1e-5, 300)
    assert pairs.converged
    assert pairs.values.dtype == torch.float64
    assert pairs.values.tolist() == pytest.approx([7, 5, 3], rel=1e-6)
    vectors = pairs.vectors.double()
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(vectors.T @ vectors, identity, rtol=0, atol=2e-6)
    residuals = (vectors * diagonal[:, None] - vectors * pairs.values).norm(dim=0)
    torch.testing.assert_close(pairs.residuals, residuals, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_one_row_is_normalized_as_several_are(dtype: torch.dtype, scale: float) -> None:
    stream = torch.Generator().manual_seed(0)
    row = scale * torch.randn(1, 40_000, generator=stream, dtype=torch.float64).to(dtype)
    alone, beside = row.clone(), torch.cat([row, torch.zeros_like(row)])
    assert orthonormalize(alone) == orthonormalize(beside) == 1  # the second drops its zero row
    torch.testing.assert_close(alone, row / row.double().norm().to(dtype))
    torch.testing.assert_close(alone, beside[:1])
    for nothing in (0.0, float("nan"), float("inf")):
        assert orthonormalize(torch.full_like(row, nothing)) == 0
