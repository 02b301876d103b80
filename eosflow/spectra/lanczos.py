"""Many Lanczos iterations at once: top eigenvectors of small matrices, and Gauss quadratures."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from eosflow.spectra.rows import parts

# operator(X, i): A_i x for each row x of X (m, d) and its entry of i (m,), in new memory.
RowOperator = Callable[[Tensor, Tensor], Tensor]

# Products between two looks at the residuals of many matrices, whose small eigenproblems together
# cost about as much as a product; that of a single matrix costs nothing and is solved each time.
CHECK_EVERY = 16


class Top(NamedTuple):
    """What a search found at the top of n spectra.

    `vectors` (n, d), not normalised, of the largest eigenvalues λ; `residual`, the worst
    ‖A_i v − λ v‖/|λ|. Residuals are those of the recurrence; round-off may leave the true ones
    above them, so measure those where it counts.
    """

    vectors: Tensor
    residual: float


def top_vectors(operator: RowOperator, start: Tensor, rtol: float, max_steps: int) -> Top:
    """Top eigenvectors of n symmetric matrices A_i, from start (n, d).

    Stops at residuals of rtol or after max_steps products. All vectors of the basis are held,
    max_steps times the memory of `start`.

    The three-term recurrence without reorthogonalisation, which would only keep out second copies
    of pairs that have been found; the first copy is all that is wanted. So each product comes with
    three passes over the rows; a basis kept orthogonal would take a pass for each of its vectors.
    """
    tiny = torch.finfo(start.dtype).tiny  # a row of zeros stays one, and not 0/0
    basis = [start / _norms(start).clamp(min=tiny)[:, None].to(start)]
    diagonal: list[Tensor] = []
    off: list[Tensor] = []
    tops, worst = torch.empty_like(start), 0.0
    which = torch.arange(len(start), device=start.device)  # the matrices still being worked on
    while True:
        image = operator(basis[-1], which)
        diagonal.append(row_products(basis[-1], image))
        off.append(_remove(image, basis, diagonal, off))
        last = len(basis) == max_steps
        if last or len(start) == 1 or len(basis) % CHECK_EVERY == 0:
            values, vectors = _eigenpairs(diagonal, off[:-1])
            errors = off[-1] * vectors[:, -1, -1].abs()  # of the largest Ritz pair
            residuals = torch.where(errors > 0, errors / values[:, -1].abs(), 0.0)
            done = (residuals <= rtol) | last
            if done.any():
                worst = max(worst, residuals[done].max().item())
                tops[which[done]] = _combine(basis, vectors[:, :, -1])[done]
                if done.all():
                    return Top(tops, worst)
                which, image = which[~done], image[~done]
                basis, diagonal, off = (
                    [rows[~done] for rows in group] for group in (basis, diagonal, off)
                )
        basis.append(image.div_(off[-1].clamp(min=tiny)[:, None].to(image)))


def quadrature(operator: RowOperator, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Nodes θ and weights w, each (n, m), of n Gauss quadratures, one per row x of start (n, P).

    Implements: xᵀf(A_i)x/‖x‖² ≈ Σ_j w_j f(θ_j), exact for polynomials f of degree up to 2m − 1. The
    nodes are the Ritz values, the weights, which sum to 1 per row, the squared first entries of the
    Ritz vectors. Without reorthogonalisation a converged Ritz value comes in copies, which share
    its weight, so sums stay right (Golub & Strakoš 1994). Three rows are held per start.
    """
    steps = min(steps, start.shape[1])
    tiny = torch.finfo(start.dtype).tiny
    which = torch.arange(len(start), device=start.device)
    basis = [start / _norms(start).clamp(min=tiny)[:, None].to(start)]
    diagonal: list[Tensor] = []
    off: list[Tensor] = []
    while True:
        image = operator(basis[-1], which)
        diagonal.append(row_products(basis[-1], image))
        if len(diagonal) == steps:
            break
        off.append(_remove(image, basis, diagonal, off))
        # Where the space is invariant, what follows is round-off, with weights of round-off.
        basis = [basis[-1], image.div_(off[-1].clamp(min=tiny)[:, None].to(image))]
    values, vectors = _eigenpairs(diagonal, off)
    return values, vectors[:, 0, :].square()


def _combine(basis: list[Tensor], coordinates: Tensor) -> Tensor:
    """Σ_j c_j q_j (n, d) for the vectors q_j (n, d) of the basis and c (n, m)."""
    result = torch.zeros_like(basis[0])
    for rows, factors in zip(basis, coordinates.T, strict=True):
        result.addcmul_(rows, factors[:, None].to(rows))
    return result


def _remove(
    image: Tensor, basis: list[Tensor], diagonal: list[Tensor], off: list[Tensor]
) -> Tensor:
    """Subtract from the images, in place, what lies along the last two vectors; ‖rest‖ (n,)."""
    squares = torch.zeros_like(diagonal[-1])
    along, before = diagonal[-1][:, None].to(image), off[-1][:, None].to(image) if off else None
    for part in parts(image):
        piece = image[:, part].addcmul_(basis[-1][:, part], along, value=-1)
        if before is not None:
            piece.addcmul_(basis[-2][:, part], before, value=-1)
        squares += piece.square().sum(1)
    return squares.sqrt()


def _eigenpairs(diagonal: list[Tensor], off: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Eigenvalues (n, m), ascending, and eigenvectors (n, m, m) of n tridiagonal matrices."""
    matrix = torch.diag_embed(torch.stack(diagonal, 1))
    if off:
        beside = torch.diag_embed(torch.stack(off, 1), offset=1)
        matrix = matrix + beside + beside.mT
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def row_products(rows: Tensor, others: Tensor) -> Tensor:
    """x_i · y_i (n,) in float64: float32 sums of millions of terms are good to four digits only."""
    total = rows.new_zeros(len(rows), dtype=torch.float64)
    for part in parts(rows):
        total += (rows[:, part] * others[:, part]).sum(1)
    return total


def _norms(rows: Tensor) -> Tensor:
    return row_products(rows, rows).sqrt()
