"""The complementarity problem of central flows, C2, against a general solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from eosflow.optimizers import complementarity


def symmetric(vector: np.ndarray, size: int) -> np.ndarray:
    """The symmetric matrix of k(k+1)/2 entries, those off the diagonal over √2, written anew."""
    found, entries = np.zeros((size, size)), iter(vector)
    for j in range(size):
        for i in range(j + 1):
            value = next(entries)
            found[i, j] = found[j, i] = value if i == j else value / math.sqrt(2)
    return found


def by_a_general_solver(offset: np.ndarray, operator: np.ndarray) -> np.ndarray:
    """The least ½⟨X, B[X]⟩ + ⟨A, X⟩ over X = LLᵀ, by quasi-Newton steps in L from four starts."""
    size = len(offset)

    def entries(x: np.ndarray) -> np.ndarray:
        rows = [(i, j) for j in range(size) for i in range(j + 1)]
        return np.array([x[i, j] * (1 if i == j else math.sqrt(2)) for i, j in rows])

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        half = flat.reshape(size, size)
        x = entries(half @ half.T)
        slope = symmetric(operator @ x + entries(offset), size)
        return x @ operator @ x / 2 + entries(offset) @ x, (2 * slope @ half).ravel()

    generator = np.random.default_rng(0)
    starts = [generator.normal(size=size * size) for _ in range(4)]
    found = [minimize(value, s, jac=True, method="BFGS", options={"gtol": 1e-11}) for s in starts]
    half = min(found, key=lambda result: result.fun).x.reshape(size, size)
    return half @ half.T


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["inactive", "active", "mixed"])
def test_the_least_covariance_is_that_of_a_general_solver(size: int, kind: str) -> None:
    generator = np.random.default_rng(size)
    count = size * (size + 1) // 2
    for scale in (1e-3, 1.0, 1e4):
        forces = generator.normal(size=(count, count + 3))
        operator = scale * forces @ forces.T
        turn = np.linalg.qr(generator.normal(size=(size, size)))[0]
        signs = {
            "inactive": np.ones(size),
            "active": -np.ones(size),
            "mixed": np.where(np.arange(size) % 2, 1.0, -1.0),
        }[kind]
        offset = (turn * signs * generator.uniform(0.5, 2, size)) @ turn.T
        found = complementarity.solve(offset, operator)
        expected = by_a_general_solver(offset, operator / scale) / scale
        np.testing.assert_allclose(
            found.x, expected, atol=1e-6 * max(np.abs(expected).max(), 1e-9 / scale)
        )
        assert found.residual < 1e-9
        assert (np.abs(found.x).max() == 0) == (kind == "inactive")
        if size == 1:  # x = max(0, −A/B)
            assert found.x.item() == pytest.approx(max(0.0, -offset.item() / operator.item()))


@pytest.mark.parametrize("size", [2, 3, 6, 12])
def test_the_conditions_hold_also_of_an_operator_that_is_not_symmetric(size: int) -> None:
    generator = np.random.default_rng(size)
    count = size * (size + 1) // 2
    for _ in range(5):
        forces, turn = generator.normal(size=(2, count, count))
        operator = forces @ forces.T + turn - turn.T
        offset = generator.normal(size=(size, size))
        offset = offset + offset.T
        found = complementarity.solve(offset, operator)
        x, slack = found.x, found.slack
        vector = complementarity.vectorize(x)
        np.testing.assert_allclose(slack, offset + symmetric(operator @ vector, size), atol=1e-9)
        scale = np.abs(x).max() + np.abs(slack).max()
        assert np.linalg.eigvalsh(x)[0] >= -1e-8 * scale
        assert np.linalg.eigvalsh(slack)[0] >= -1e-7 * scale
        assert abs(np.trace(x @ slack)) <= 1e-7 * scale**2


def test_where_no_force_acts_on_what_grows_the_residual_says_so() -> None:
    found = complementarity.solve(np.array([[-1.0]]), np.array([[0.0]]))
    assert found.residual > 0.1
    free = complementarity.solve(np.array([[1.0]]), np.array([[0.0]]))
    assert (free.x.item(), free.residual) == (0.0, 0.0)
