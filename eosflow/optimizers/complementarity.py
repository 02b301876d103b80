"""The semidefinite complementarity problem of a central flow, for a few directions."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEWTON_STEPS = 50
PROJECTIONS = 5000
TOLERANCE = 1e-10


class Solution(NamedTuple):
    """X (k, k) ⪰ 0, its slack A + B[X] (k, k), and the residual of the conditions, relative."""

    x: Array
    slack: Array
    residual: float


def solve(offset: Array, operator: Array) -> Solution:
    """X ⪰ 0 with S = A + B[X] ⪰ 0 and ⟨X, S⟩ = 0.

    Implements: C2. `offset` A (k, k) is symmetric; `operator` B (m, m), m = k(k+1)/2, acts on
    `vectorize`d matrices, is monotone and need not be symmetric. The conditions are one equation in
    Z = X − τS, that of the natural map, Π(Z) = X with Π the projection onto X ⪰ 0; Newton's method
    solves it (semismooth, with a line search), and where that stops short, projected steps do.

    `residual` is ‖X − Π(X − τS)‖ / τ(‖A‖ + ‖B[X]‖), τ = 1/‖B‖: 0 at a solution, and about 1 if
    there is none, as when no force acts on a curvature that grows.

    >>> solve(np.array([[-1.0]]), np.array([[2.0]])).x.item()  # max(0, −A/B)
    0.5
    """
    a, size = vectorize(offset), len(offset)
    norm = float(np.linalg.norm(operator, 2))
    scale = 1 / norm if norm > 0 else 1.0
    q, b = scale * a, scale * operator
    z, residual = _newton(-q, q, b, size)
    if residual > TOLERANCE:
        projected, other = _projected(_split(z, size)[0], q, b, size)
        if other < residual:
            z, residual = _newton(projected - q - b @ projected, q, b, size)
    x = _split(z, size)[0]
    return Solution(matrix(x, size), matrix(a + operator @ x, size), residual)


def _newton(z: Array, q: Array, b: Array, size: int) -> tuple[Array, float]:
    """The best Z of Newton's method from a first one, and its residual."""
    identity = np.eye(len(q))
    x, derivative = _split(z, size)
    gap = _gap(z, x, q, b)
    for _ in range(NEWTON_STEPS):
        if _relative(gap, x, q, b) <= TOLERANCE:
            break
        jacobian = identity - derivative + b @ derivative
        step = np.linalg.lstsq(jacobian, -gap, rcond=1e-14)[0]
        length, before = 1.0, float(gap @ gap)
        while True:
            trial = z + length * step
            x_trial, derivative_trial = _split(trial, size)
            gap_trial = _gap(trial, x_trial, q, b)
            if float(gap_trial @ gap_trial) <= (1 - 1e-4 * length) * before or length < 1e-8:
                break
            length /= 2
        if length < 1e-8:
            break
        z, x, derivative, gap = trial, x_trial, derivative_trial, gap_trial
    return z, _relative(_natural(x, q, b, size), x, q, b)


def _projected(x: Array, q: Array, b: Array, size: int) -> tuple[Array, float]:
    """X by extragradient steps, which converge for every monotone B."""
    for _ in range(PROJECTIONS):
        between = _split(x - 0.5 * (q + b @ x), size)[0]
        x = _split(x - 0.5 * (q + b @ between), size)[0]
        residual = _relative(_natural(x, q, b, size), x, q, b)
        if residual <= TOLERANCE:
            break
    return x, residual


def _gap(z: Array, x: Array, q: Array, b: Array) -> Array:
    """Z − X + q + bX: what is missing of S = A + B[X], where Z = X − τS."""
    return z - x + q + b @ x


def _natural(x: Array, q: Array, b: Array, size: int) -> Array:
    return x - _split(x - q - b @ x, size)[0]


def _relative(gap: Array, x: Array, q: Array, b: Array) -> float:
    size = float(np.linalg.norm(q) + np.linalg.norm(b @ x))
    found = float(np.linalg.norm(gap)) / size if size else 0.0
    return found if math.isfinite(found) else math.inf


def _split(z: Array, size: int) -> tuple[Array, Array]:
    """Π(Z) and its derivative (m, m), for Z as a vector (m,). Source: Sun & Sun 2002."""
    values, vectors = np.linalg.eigh(matrix(z, size))
    i, j, root = _entries(size)
    positive = np.maximum(values, 0)
    difference = values[i] - values[j]
    safe = np.where(difference == 0, 1.0, difference)
    slope = np.where(difference == 0, values[i] > 0, (positive[i] - positive[j]) / safe)
    # Orthogonal (m, m): the rows are the matrices v_a v_bᵀ + v_b v_aᵀ, of norm 1.
    first, second = vectors[:, i].T, vectors[:, j].T
    turn = (first[:, i] * second[:, j] + first[:, j] * second[:, i]) * root / 2 * root[:, None]
    return vectorize((vectors * positive) @ vectors.T), (turn.T * slope) @ turn


def vectorize(symmetric: Array) -> Array:
    """The entries i ≤ j of (k, k), column by column, off the diagonal times √2: a vector (m,).

    So scalar products of vectors are those of the matrices.
    """
    i, j, root = _entries(len(symmetric))
    found: Array = symmetric[i, j] * root
    return found


def matrix(vector: Array, size: int) -> Array:
    """The inverse of `vectorize`."""
    i, j, root = _entries(size)
    found = np.zeros((size, size))
    found[i, j] = found[j, i] = vector / root
    return found


@functools.cache
def _entries(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """i ≤ j of the entries, column by column, and √2 off the diagonal, 1 on it."""
    j, i = np.tril_indices(size)
    return i, j, np.where(i == j, 1.0, math.sqrt(2))
