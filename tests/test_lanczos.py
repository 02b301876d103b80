"""Lanczos iteration against dense eigenvalue decompositions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eosflow.spectra.lanczos import top_vectors


def symmetric(count: int, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    stream = torch.Generator().manual_seed(5)
    matrices = torch.randn(count, size, size, generator=stream, dtype=torch.float64)
    return (matrices + matrices.mT).to(dtype)


def rayleigh(matrices: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Quotients (n,) of the rows and the relative residuals, in float64."""
    rows = (rows / rows.norm(dim=1, keepdim=True)).double()
    images = torch.einsum("nij,nj->ni", matrices.double(), rows)
    values = (rows * images).sum(1)
    return values, (images - values[:, None] * rows).norm(dim=1) / values.abs()


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["float64", "float32"]
)
def test_finds_the_largest_algebraic_eigenvalue(
    count: int, dtype: torch.dtype, rtol: float
) -> None:
    matrices = symmetric(count, 60, dtype)
    start = torch.ones(count, 60, dtype=dtype)
    rows, residual = top_vectors(
        lambda x, i: torch.einsum("nij,nj->ni", matrices[i], x), start, rtol, max_steps=200
    )
    values, residuals = rayleigh(matrices, rows)
    assert residual <= rtol
    # The recurrence's own residual is the true one but for round-off, which callers look at.
    assert residuals.max().item() <= 2 * rtol
    expected = torch.linalg.eigvalsh(matrices.double())[:, -1]
    torch.testing.assert_close(values, expected, rtol=rtol, atol=0)
    assert start.eq(1).all()


def test_out_of_steps_it_says_how_far_it_came() -> None:
    matrices = symmetric(1, 60)
    start = torch.ones(1, 60).double()
    rows, residual = top_vectors(lambda x, _: x @ matrices[0], start, 1e-9, 6)
    _, residuals = rayleigh(matrices, rows)
    assert residual == pytest.approx(residuals.item(), rel=1e-6)
    assert residual > 1e-3


def test_zeros_and_invariant_starts_give_numbers() -> None:
    diagonal = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]).double()
    start = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).double()
    rows, residual = top_vectors(lambda x, i: x * diagonal[i], start, 1e-10, 20)
    assert residual == 0
    torch.testing.assert_close(rows[1] / rows[1].norm(), start[1])  # an eigenvector already
    assert rows[2].eq(0).all()
    assert rows.isfinite().all()


def test_scalar_products_of_long_float32_vectors_are_precise() -> None:
    # Summed in float32 these were good to four digits, and the residual could not fall below that.
    diagonal = torch.linspace(0, 1, 2_000_000)
    diagonal[-1] = 3
    stream = torch.Generator().manual_seed(1)
    start = torch.randn(1, len(diagonal), generator=stream)
    start[0, -1] = 100
    rows, residual = top_vectors(lambda x, _: x * diagonal, start, 1e-6, 60)
    assert residual <= 1e-6
    unit = rows[0].double() / rows[0].double().norm()
    image = unit * diagonal.double()
    value = unit @ image
    assert value.item() == pytest.approx(3, rel=1e-9)
    assert (image - value * unit).norm().item() / 3 < 3e-6
