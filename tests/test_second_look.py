"""What a search has overlooked, and how its pairs are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import eosflow
from eosflow.spectra.ends import WHICH, Which, checked, rank
from eosflow.spectra.rows import orthonormalize
from eosflow.spectra.search import search
from eosflow.spectra.second_look import CHANCE, Complement, mass_at_most, overlooked


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lanczos(matrix: Tensor, start: Tensor, steps: int) -> tuple[Tensor, list[float], list[float]]:
    """Rows q_1 … q_{m+1}, the diagonal of T and the norms beside it, kept orthogonal in full."""
    rows, diagonal, beside = [start / start.norm()], [], []
    for _ in range(steps):
        image = matrix @ rows[-1]
        diagonal.append((image @ rows[-1]).item())
        for _ in range(2):
            for row in rows:
                image = image - (row @ image) * row
        beside.append(image.norm().item())
        rows.append(image / beside[-1])
    return torch.stack(rows), diagonal, beside


def test_no_eigenvalue_can_have_more_of_the_start() -> None:
    """The bound is min Σ w p(λ)² over polynomials p of degree m with p(μ) = 1."""
    values = torch.sort(torch.randn(40, generator=stream(0), dtype=torch.float64))[0]
    start = torch.randn(40, generator=stream(1), dtype=torch.float64)
    weights = (start / start.norm()).square().numpy()
    _, diagonal, beside = lanczos(torch.diag(values), start, 6)
    for edge in (0.3, 1.5, 3.0, values[-1].item()):
        powers = np.polynomial.chebyshev.chebvander(np.r_[values.numpy(), edge] / 4, 6)
        # p = Σ_j c_j T_j with least c·Mc and c·T(μ) = 1: its value is 1/(T(μ)·M⁻¹T(μ)).
        gram = powers[:-1].T @ (weights[:, None] * powers[:-1])
        least = 1 / (powers[-1] @ np.linalg.solve(gram, powers[-1]))
        assert mass_at_most(diagonal, beside, edge) == pytest.approx(least, rel=1e-6)
    assert mass_at_most(diagonal, beside, values[-1].item()) >= weights[-1]


def test_eigenvalues_beyond_an_edge_are_in_the_rows_or_in_the_complement() -> None:
    made = torch.randn(12, 12, generator=stream(2), dtype=torch.float64)
    matrix = made + made.T
    start = torch.randn(12, generator=stream(3), dtype=torch.float64)
    rows, diagonal, beside = lanczos(matrix, start, 5)
    held, ahead = rows[:5], rows[5:]
    off = torch.diag(torch.tensor(beside[:4], dtype=torch.float64), 1)
    values, turn = torch.linalg.eigh(torch.diag(torch.tensor(diagonal).double()) + off + off.T)
    along = beside[-1] * turn[-1:, :]
    complement = Complement(turn.T @ held, values, ahead, along)
    outside = torch.linalg.svd(held).Vh[5:]  # an orthonormal basis of the rest
    for edge in torch.linspace(-6, 6, 25).tolist():
        images = outside @ matrix + (outside @ ahead.T) @ complement.push(edge)
        left = torch.linalg.eigvalsh(images @ outside.T)
        beyond = int((values > edge).sum() + (left > edge).sum())
        assert beyond == int((torch.linalg.eigvalsh(matrix) > edge).sum())
        assert (images @ held.T).abs().max() < 1e-12  # no part of the rows comes back


@pytest.mark.parametrize("which", WHICH)
def test_a_copy_is_seen_and_nothing_else_is(which: Which) -> None:
    size, seen = 400, 0
    sign = -1.0 if which == "smallest" else 1.0
    for copy in (True, False):
        values = 0.3 * torch.randn(size, generator=stream(0), dtype=torch.float64)
        values[0] = 2.0
        values[1] = 2.0 if copy else 0.0
        values = sign * values
        held = torch.zeros(1, size, dtype=torch.float64)
        held[0, 0] = 1.0
        none = torch.zeros(0, size, dtype=torch.float64)
        left = Complement(held, values[:1], none, torch.zeros(0, 1, dtype=torch.float64))
        edges = {"largest": [1.99], "smallest": [-1.99], "magnitude": [1.99, -1.99]}[which]
        for seed in range(100):
            memory = torch.randn(3, size, generator=stream(seed), dtype=torch.float64)
            memory[0, 0] = 0.0
            memory[0] /= memory[0].norm()
            found = overlooked(
                lambda rows, out, v=values: out.copy_(rows * v),
                left, memory, lambda v: rank(which, v), edges, 1e-12, 60,
            )  # fmt: skip
            seen += found
            assert copy or not found
    assert seen >= 100 - 5 * 100 * CHANCE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_stay_orthogonal_over_restarts(dtype: Any) -> None:
    values = torch.linspace(-1, 1, 2000, dtype=torch.float64).sinh().to(dtype)
    start = torch.randn(1, 2000, generator=stream(0), dtype=dtype)
    found = search(
        lambda rows, out: out.copy_(rows * values), start, 6, "largest", 1e-3, 5000, capacity=30
    )
    assert found.converged.all() and found.products > 100
    gram = found.rows.double() @ found.rows.double().T
    assert (gram - torch.eye(6)).abs().max() < torch.finfo(dtype).eps ** 0.5
    apart = (found.rows * values).double() - found.values[:, None] * found.rows.double()
    torch.testing.assert_close(apart.norm(dim=1), found.residuals, rtol=0.1, atol=1e-6)
    expected = values.double().flip(0)[:6]
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=0)


def test_checked_pairs_have_the_residuals_of_their_products() -> None:
    made = torch.randn(30, 30, generator=stream(4), dtype=torch.float64)
    matrix = made + made.T
    rows = torch.randn(4, 30, generator=stream(5), dtype=torch.float64)
    orthonormalize(rows)
    found = checked(lambda v, out: torch.mm(v, matrix, out=out), rows.clone(), "largest", 0.1, 0.0)
    expected = torch.linalg.eigvalsh(rows @ matrix @ rows.T).flip(0)
    torch.testing.assert_close(found.values, expected)
    apart = found.rows @ matrix - found.values[:, None] * found.rows
    torch.testing.assert_close(apart.norm(dim=1), found.residuals)
    assert found.products == 4 and not found.converged.any()


def test_as_many_pairs_of_multiple_eigenvalues_as_were_asked_for() -> None:
    inputs, targets = torch.randn(50, 300, generator=stream(6)), torch.randn(50, 10)
    own = eosflow.Problem(nn.Linear(300, 10, bias=False), "half_squared_error", (inputs, targets))
    once = torch.linalg.eigvalsh((inputs.T @ inputs / 50).double()).flip(0)
    pairs = eosflow.eigenpairs(own, k=12)
    torch.testing.assert_close(pairs.values, once.repeat_interleave(10)[:12], rtol=1e-4, atol=0)
    assert pairs.converged.all()
