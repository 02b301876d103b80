"""Whether a search for eigenvalues has overlooked one, by Lanczos iteration on what it left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.spectra.rows import inner, parts

# How likely an eigenvalue stays overlooked.
CHANCE = 0.01
# Of long rows that are taken at a time.
COLUMNS = 65536


@dataclass(frozen=True)
class Complement:
    """What A does outside of rows S (s, P) with AS = S diag(θ) + FC, F (b, P), C (b, s).

    A has as many eigenvalues beyond μ as θ has, and A_μ = PAP + FᵀC(μ − θ)⁻¹CᵀF, with P = 1 − SSᵀ.
    Source: Haynsworth, Linear Algebra Appl. 1968.
    """

    rows: Tensor
    values: Tensor
    ahead: Tensor
    along: Tensor

    def push(self, edge: float | None) -> Tensor:
        """FᵀC(μ − θ)⁻¹Cᵀ − SᵀCᵀ (b, P): A_μ w = Aw + push · Fw for w orthogonal to S.

        The first term is left out without an edge μ.
        """
        push = -(self.along.to(self.rows) @ self.rows)
        if edge is not None:
            square = (self.along / (edge - self.values)) @ self.along.T
            push.addmm_(square.to(push), self.ahead)
        return push


def mass_at_most(diagonal: list[float], beside: list[float], edge: float) -> float:
    """The largest share 1/Σ_{j ≤ m} p_j(μ)² that an eigenvalue μ can have of the start.

    p_j are the orthogonal polynomials of m Lanczos steps: their diagonal and the norms beside it,
    the last one included. Source: Golub & Meurant, Matrices, Moments and Quadrature, 2010.
    """
    before, now, total, back = 0.0, 1.0, 1.0, 0.0
    for a, b in zip(diagonal, beside, strict=True):
        before, now = now, ((edge - a) * now - back * before) / b
        total, back = total + now * now, b
    return 1 / total


def overlooked(
    apply: Callable[[Tensor, Tensor], object],
    complement: Complement,
    memory: Tensor,
    rank: Callable[[Tensor], Tensor],
    edges: list[float],
    rounding: float,
    products: int,
) -> bool:
    """Whether the complement has an eigenvalue beyond an edge, of at most so many products.

    By Lanczos iteration from a random vector, memory[0], orthogonal to the rows: until a Ritz value
    ranks above the edge's, or an eigenvector there would have less of that vector than `CHANCE`
    allows, by P(|u·v|² ≤ s) ≤ √(2Ps/π). memory (3, P).
    """
    held, size = complement.rows, memory.shape[1]
    push = complement.push(edges[0] if len(edges) == 1 else None)
    diagonal: list[float] = []
    beside: list[float] = []
    vector, image, before = memory[0], memory[1], memory[2]
    edge = rank(torch.tensor(edges[:1], dtype=torch.float64)).item()
    for step in range(products):
        apply(vector[None], image[None])
        for factor, row in zip(inner(vector[None], complement.ahead)[0], push, strict=True):
            image.add_(row, alpha=factor.item())
        diagonal.append(inner(image[None], vector[None]).item())
        back = beside[-1] if beside else 0.0
        _subtract(image, [(diagonal[-1], vector), (back, before)][: len(diagonal)])
        # What rounding brings back of the rows grows from step to step: two of four are enough.
        length = math.sqrt(inner(image[None], image[None]).item())
        if step % 4 < 2:
            length = without(image[None], inner(image[None], held), held).item()
        if rank(_tridiagonal(diagonal, beside)).max().item() > edge:
            return True
        if length <= rounding:
            return False
        beside.append(length)
        share = max(mass_at_most(diagonal, beside, at) for at in edges)
        if math.sqrt(2 * size * share / math.pi) <= CHANCE:
            return False
        before, vector, image = vector, image.div_(length), before
    return False


def without(rows: Tensor, along: Tensor, basis: Tensor) -> Tensor:
    """Subtract `along` (b, m) · basis (m, P) from the rows (b, P), in place; their lengths (b,)."""
    squares = rows.new_zeros(len(rows), dtype=torch.float64)
    factors = along.to(rows)
    for part in parts(basis, COLUMNS):
        piece = rows[:, part].addmm_(factors, basis[:, part], alpha=-1)
        squares += piece.square().sum(1)
    return squares.sqrt()


def _subtract(row: Tensor, others: list[tuple[float, Tensor]]) -> None:
    """Subtract multiples of other vectors from one (P,), in place."""
    for part in parts(row[None]):
        for factor, other in others:
            row[part].add_(other[part], alpha=-factor)


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    """The eigenvalues of a symmetric tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.tensor(beside, dtype=torch.float64)
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    values: Tensor = torch.linalg.eigvalsh(matrix)
    return values
