"""φ-functions of a symmetric operator, applied to a vector by Lanczos iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import Operator
from eosflow.spectra.rows import parts

# Within this distance of 0 the recurrence for φ_k cancels, and its series converges at once.
SERIES_RADIUS = 1.0
SERIES_TERMS = 20
# Entries of a single vector that are taken at a time: a mebibyte in float32.
SINGLE_COLUMNS = 2**18


def phi(order: int, exponents: Tensor) -> Tensor:
    """φ_k(z) = Σ_j z^j/(j+k)! for real z (n,) of either sign, float64; φ₀ = exp, φ_k(0) = 1/k!.

    Implements: E18. By φ_{k+1}(z) = (φ_k(z) − 1/k!)/z away from 0 and by the series near it.
    Source: Hochbruck & Ostermann, Acta Numerica 2010, equation (2.11).
    """
    small = exponents.abs() <= SERIES_RADIUS
    safe = torch.where(small, 1.0, exponents)
    exact = torch.exp(safe)
    for k in range(order):
        exact = (
            torch.expm1(safe) / safe if k == 0 else (exact - 1 / float(math.factorial(k))) / safe
        )
    near = torch.where(small, exponents, 0.0)
    series, power = torch.zeros_like(near), torch.ones_like(near)
    for j in range(SERIES_TERMS):
        series += power / float(math.factorial(j + order))
        power = power * near
    return torch.where(small, series, exact)


@dataclass(frozen=True)
class Space:
    """The first m vectors of a Krylov space and what A does there: AQ = QT + β q eᵀ.

    values (m,) and vectors (m, m): the eigenpairs of T, float64; norm ‖b‖; beyond β.
    """

    values: Tensor
    vectors: Tensor
    norm: float
    beyond: float

    @property
    def size(self) -> int:
        """m."""
        return len(self.values)

    @property
    def largest(self) -> float:
        """The largest Ritz value: a lower bound of λ₁(A), poor where m is small."""
        return self.values[-1].item() if self.size else 0.0

    @property
    def smallest(self) -> float:
        """The smallest Ritz value: an upper bound of the smallest eigenvalue."""
        return self.values[0].item() if self.size else 0.0

    @property
    def largest_error(self) -> float:
        """‖Ay − λy‖ of the largest Ritz value λ: some eigenvalue is as near to it."""
        return self.beyond * abs(self.vectors[-1, -1].item()) if self.size else self.norm

    @property
    def smallest_error(self) -> float:
        """‖Ay − λy‖ of the smallest Ritz value λ."""
        return self.beyond * abs(self.vectors[-1, 0].item()) if self.size else self.norm

    def coefficients(self, order: int, scale: float) -> Tensor:
        """φ_k(sT)e₁‖b‖ (m,): what φ_k(sA)b is made of, in the basis Q."""
        if not self.size:
            return self.values
        inner = self.vectors @ (phi(order, scale * self.values) * self.vectors[0])
        return torch.mul(inner, self.norm)

    def residual(self, order: int, scale: float) -> float:
        """‖b‖ |s| β |e_mᵀ φ_{k+1}(sT) e₁|: the leading error of φ_k(sA)b from this space.

        Infinite in the space of no vectors, unless b is 0. Source: Saad, SIAM J. Numer. Anal. 1992.
        """
        if not self.size:
            return math.inf if self.norm else 0.0
        last = self.coefficients(order + 1, scale)[-1].item()
        return abs(scale) * self.beyond * abs(last)

    def image(self, coefficients: Tensor) -> Tensor:
        """AQc (m + 1,) in the basis of one vector more, at no product."""
        if not self.size:
            return coefficients
        inner = self.vectors @ (self.values * (self.vectors.T @ coefficients))
        return torch.cat([inner, self.beyond * coefficients[-1:]])


class Krylov:
    """The Krylov space of a symmetric operator A and a vector b (P,), grown a product at a time.

    Vectors are rows of `memory` (capacity, P) and of its dtype; T and all sums are float64. They
    come from the three-term recurrence without reorthogonalisation: what round-off brings back are
    copies of directions that are there, which does φ(A)b no harm (Druskin & Knizhnerman 1991).
    """

    def __init__(self, operator: Operator, vector: Tensor, memory: Tensor) -> None:
        self._operator = operator
        self._rows = memory
        self._diagonal: list[float] = []
        self._beside: list[float] = []
        self._spaces: dict[int, Space] = {}
        self.norm = math.sqrt(_dot(vector, vector))
        scale = 1 / self.norm if self.norm > 0 else 0.0
        for part in parts(vector[None]):
            self._rows[0, part] = vector[part] * scale

    @property
    def size(self) -> int:
        """How many products were taken."""
        return len(self._diagonal)

    @property
    def finite(self) -> bool:
        """Whether b and all products were numbers."""
        last = self._beside[-1] if self.size else 0.0
        return math.isfinite(self.norm) and math.isfinite(last)

    @property
    def full(self) -> bool:
        """Whether there is no room for another vector."""
        return self.size + 1 >= len(self._rows)

    @property
    def complete(self) -> bool:
        """Whether the space is invariant to round-off: a further product would add nothing."""
        if not self.size:
            return self.norm == 0
        eps = torch.finfo(self._rows.dtype).eps
        return self._beside[-1] <= 10 * eps * max(map(abs, self._diagonal))

    def grow(self) -> None:
        """Take one product more."""
        number = self.size
        vector, image = self._rows[number], self._rows[number + 1]
        self._operator(vector[:, None], image[:, None])
        along = _dot(vector, image)
        before = self._beside[-1] if number else 0.0
        for part in parts(self._rows, SINGLE_COLUMNS):
            image[part].add_(vector[part], alpha=-along)
            if number:
                image[part].add_(self._rows[number - 1, part], alpha=-before)
        rest = math.sqrt(_dot(image, image))
        image.mul_(1 / rest if rest > 0 else 0.0)
        self._diagonal.append(along)
        self._beside.append(rest)

    def space(self, size: int) -> Space:
        """The first m ≤ `size` vectors, whatever came after them."""
        if size not in self._spaces:
            matrix = torch.diag(torch.tensor(self._diagonal[:size], dtype=torch.float64))
            if size > 1:
                beside = torch.tensor(self._beside[: size - 1], dtype=torch.float64)
                matrix += torch.diag(beside, 1) + torch.diag(beside, -1)
            if matrix.isfinite().all():
                values, vectors = torch.linalg.eigh(matrix)
            else:
                values, vectors = matrix.diagonal(), matrix
            beyond = self._beside[size - 1] if size else 0.0
            self._spaces[size] = Space(values, vectors, self.norm, beyond)
        return self._spaces[size]

    def smallest(self, enough: Callable[[Space], bool]) -> Space | None:
        """The first of the spaces that is enough, or invariant; None if memory does not do.

        Takes products only where the spaces that are there do not do, so that the answer is the
        same whatever was asked before.
        """
        size = 0
        while True:
            space = self.space(size)
            at_end = size == self.size
            if enough(space) or (at_end and (self.complete or not self.finite)):
                return space
            if at_end:
                if self.full:
                    return None
                self.grow()
            size += 1

    def combine(self, coefficients: Tensor, like: Tensor) -> Tensor:
        """Qc (P,) for c of up to m + 1 numbers, in the dtype of `like`."""
        total = torch.zeros_like(like)
        rows = self._rows[: len(coefficients)]
        factors = coefficients.to(like)
        for part in parts(self._rows):
            total[part] = factors @ rows[:, part].to(like.dtype)
        return total


def _dot(first: Tensor, second: Tensor) -> float:
    """x·y to the precision of its terms: `sum` adds in pairs, `dot` one after the other."""
    total = 0.0
    for part in parts(first[None], SINGLE_COLUMNS):
        total += (first[part] * second[part]).sum().item()
    return total
