"""φ-functions of matrices by Lanczos: against scipy's expm and many digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import exact_phi
from scipy.linalg import expm
from torch import Tensor

from eosflow.spectra.krylov import Krylov, phi

ARGUMENTS = [0.0, 1e-300, 1e-8, 0.3, 0.999, 1.0, 1.001, 2.0, 7.5, 40.0, 300.0, 700.0]


@pytest.mark.parametrize("order", range(5))
def test_phi_is_exact_to_rounding_for_either_sign(order: int) -> None:
    arguments = [sign * z for z in ARGUMENTS for sign in (1, -1)] + [-1e3]
    expected = [exact_phi(order, z) for z in arguments]
    found = phi(order, torch.tensor(arguments, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), expected, rtol=3e-13)
    assert phi(order, torch.tensor([1e3], dtype=torch.float64)).isinf().all()
    at_zero = phi(order, torch.zeros(1, dtype=torch.float64)).item()
    assert at_zero == pytest.approx(1 / math.factorial(order), rel=1e-15)


def dense_phi(order: int, matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """φ_k(A)b from the exponential of [[A, b, 0], [0, 0, I], [0, 0, 0]], Saad 1992."""
    if order == 0:
        return np.asarray(expm(matrix) @ vector)
    size = len(matrix)
    large = np.zeros((size + order, size + order))
    large[:size, :size] = matrix
    large[:size, size] = vector
    for j in range(order - 1):
        large[size + j, size + j + 1] = 1.0
    return np.asarray(expm(large)[:size, -1])


def symmetric(seed: int, values: np.ndarray) -> np.ndarray:
    stream = np.random.default_rng(seed)
    basis = np.linalg.qr(stream.standard_normal((len(values), len(values))))[0]
    return np.asarray(basis * values @ basis.T)


def krylov(matrix: np.ndarray, vector: Tensor, capacity: int, dtype: torch.dtype) -> Krylov:
    held = torch.from_numpy(matrix).to(dtype)

    def operator(block: Tensor, out: Tensor | None = None) -> Tensor:
        assert out is not None
        return out.copy_(held @ block)

    return Krylov(operator, vector, torch.full((capacity, len(vector)), math.nan, dtype=dtype))


SPECTRA = {
    "hessian": np.concatenate([[30.0, 12.0, 5.0], np.geomspace(1, 1e-3, 40), [-0.01, -0.3, -2.0]]),
    "negative": -np.geomspace(5, 0.1, 30),
    "repeated": np.repeat([4.0, 0.0, -1.0], 8),
}


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("size", [0.01, 0.3, 2.0])
def test_the_action_equals_the_dense_function(
    order: int, spectrum: np.ndarray, size: float
) -> None:
    matrix = symmetric(0, spectrum)
    vector = torch.randn(len(matrix), generator=torch.Generator().manual_seed(1)).double()
    space = krylov(matrix, vector, len(matrix) + 40, torch.float64)
    expected = dense_phi(order, -size * matrix, vector.numpy())
    length = float(np.linalg.norm(expected))
    part = space.smallest(lambda part: part.residual(order, -size) <= 1e-10 * length)
    assert part is not None
    found = space.combine(part.coefficients(order, -size), vector)
    assert np.linalg.norm(found.numpy() - expected) <= 1e-9 * length
    image = space.combine(part.image(part.coefficients(order, -size)), vector)
    np.testing.assert_allclose(image.numpy(), matrix @ found.numpy(), atol=1e-9 * length * 30)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_residual_is_the_error_within_a_factor(order: int, seed: int) -> None:
    matrix = symmetric(seed, SPECTRA["hessian"])
    vector = torch.randn(len(matrix), generator=torch.Generator().manual_seed(seed)).double()
    space = krylov(matrix, vector, 40, torch.float64)
    for size in (0.05, 0.5):
        expected = dense_phi(order, -size * matrix, vector.numpy())
        length = float(np.linalg.norm(expected))
        for share in (1e-1, 1e-2, 1e-4, 1e-6):
            part = space.smallest(
                lambda part, size=size, limit=share * length: part.residual(order, -size) <= limit  # type: ignore[misc]
            )
            assert part is not None
            found = space.combine(part.coefficients(order, -size), vector).numpy()
            assert np.linalg.norm(found - expected) <= 3 * share * length


def test_single_precision_vectors_lose_nothing_above_their_rounding() -> None:
    matrix = symmetric(0, SPECTRA["hessian"])
    vector = torch.randn(len(matrix), generator=torch.Generator().manual_seed(1)).double()
    expected = dense_phi(1, -matrix, vector.numpy())
    space = krylov(matrix, vector, 40, torch.float32)
    length = float(np.linalg.norm(expected))
    part = space.smallest(lambda part: part.residual(1, -1.0) <= 1e-5 * length)
    assert part is not None
    found = space.combine(part.coefficients(1, -1.0), vector)
    assert found.dtype == torch.float64
    assert np.linalg.norm(found.numpy() - expected) <= 3e-5 * length


def test_a_space_is_the_same_whatever_was_asked_before() -> None:
    matrix = symmetric(0, SPECTRA["hessian"])
    vector = torch.ones(len(matrix), dtype=torch.float64)
    fresh, used = (krylov(matrix, vector, 30, torch.float64) for _ in range(2))
    assert used.smallest(lambda part: part.size >= 20) is not None

    def enough(part):  # type: ignore[no-untyped-def]
        return part.residual(1, -0.1) < 1e-3

    first, second = fresh.smallest(enough), used.smallest(enough)
    assert first is not None
    assert second is not None
    assert first.size == second.size < 20
    assert torch.equal(first.coefficients(1, -0.1), second.coefficients(1, -0.1))
    assert (fresh.size, used.size) == (first.size, 20)


def test_the_zero_vector_takes_no_product() -> None:
    space = krylov(np.eye(5), torch.zeros(5, dtype=torch.float64), 10, torch.float64)
    part = space.smallest(lambda part: part.residual(1, -1.0) <= 0)
    assert part is not None
    assert (part.size, space.size, part.largest) == (0, 0, 0.0)
    like = torch.zeros(5, dtype=torch.float64)
    assert (space.combine(part.coefficients(1, -1.0), like) == 0).all()
    assert (space.combine(part.image(part.coefficients(1, -1.0)), like) == 0).all()


def test_it_ends_where_the_space_is_invariant_or_memory_is_full_or_numbers_are_none() -> None:
    never = lambda part: False  # noqa: E731
    vector = torch.tensor([3.0, 4.0, 0.0, 0.0], dtype=torch.float64)
    diagonal = np.diag([2.0, -1.0, 5.0, 7.0])
    part = krylov(diagonal, vector, 10, torch.float64).smallest(never)
    assert part is not None
    assert part.values.tolist() == pytest.approx([-1.0, 2.0])
    found = part.coefficients(1, -3.0).norm().item()
    expected = dense_phi(1, -3 * diagonal, vector.numpy())
    assert found == pytest.approx(np.linalg.norm(expected))
    wide = krylov(symmetric(0, SPECTRA["hessian"]), torch.ones(46).double(), 6, torch.float64)
    assert wide.smallest(never) is None
    assert (wide.size, wide.full) == (5, True)
    broken = krylov(diagonal * math.nan, vector, 10, torch.float64)
    assert broken.smallest(never) is not None
    assert (broken.size, broken.finite) == (1, False)
