"""Eigenpairs at an end of a symmetric operator's spectrum: what is found of them, and its check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from eosflow.spectra.rows import inner, orthonormalize, parts

Which = Literal["largest", "smallest", "magnitude"]
WHICH = get_args(Which)
# apply(X, out): A x for each row x of X (m, P), written into the rows of out.
RowOperator = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Found:
    """k pairs in the order wanted: values (k,), rows (k, P) orthonormal, residuals ‖Av − λv‖ (k,).

    `converged` (k,) by the search's own tolerance; `products` with single vectors were taken;
    `scale` is the largest |qᵀAq'| seen, whose rounding counts as 0; `interrupted` if someone
    stopped it.
    """

    values: Tensor
    rows: Tensor
    residuals: Tensor
    converged: Tensor
    products: int
    scale: float
    interrupted: bool = False


def checked(
    apply: RowOperator, rows: Tensor, which: Which, tolerance: float, scale: float
) -> Found:
    """The pairs in the span of rows (k, P) by Rayleigh–Ritz, by a product with each.

    Residuals are computed from the products; `scale` is that of the search. The rows are
    overwritten by the vectors.
    """
    rows = rows[: orthonormalize(rows)]
    images = torch.empty_like(rows)
    apply(rows, images)
    small = inner(images, rows)
    values, turn = torch.linalg.eigh((small + small.T) / 2)
    order = (-rank(which, values)).argsort(stable=True)
    values, turn = values[order], turn[:, order].T.to(rows)
    squares = torch.zeros_like(values)
    for part in parts(rows):
        vectors = turn @ rows[:, part]
        apart = (turn @ images[:, part]).addcmul_(vectors, values.to(rows)[:, None], value=-1)
        squares += apart.square_().sum(1)
        rows[:, part] = vectors
    residuals = squares.sqrt()
    scale = max(scale, small.abs().max().item())
    done = converged(values, residuals, tolerance, rounding(rows, scale))
    return Found(values, rows, residuals, done, len(rows), scale)


def rank(which: Which, values: Tensor) -> Tensor:
    """What is larger the sooner a value is wanted."""
    return {"largest": values, "smallest": -values, "magnitude": values.abs()}[which]


def rounding(rows: Tensor, scale: float) -> float:
    """What is 0 but for rounding, of vectors in the precision of the rows."""
    return 10 * torch.finfo(rows.dtype).eps * scale


def converged(values: Tensor, residuals: Tensor, tolerance: float, rounding: float) -> Tensor:
    """Which residuals are below the tolerance, relative to their own values, or rounding."""
    return residuals <= (tolerance * values.abs()).clamp(min=10 * rounding)
