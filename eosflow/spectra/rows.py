"""Long vectors as the rows of a matrix, taken in parts that stay in cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Long rows are transformed in place, this many columns at a time so that they stay in cache.
COLUMNS = 16384
# As many entries are taken at a time where no sum depends on it: a mebibyte in float32.
ENTRIES = 2**18


def parts(rows: Tensor, columns: int = COLUMNS) -> Iterator[slice]:
    """Columns of long rows (k, P), as many at a time as stay in cache."""
    # A device other than the CPU has no such cache, and pays for each call.
    length = columns if rows.device.type == "cpu" else rows.shape[1]
    for start in range(0, rows.shape[1], length):
        yield slice(start, start + length)


def inner(rows: Tensor, others: Tensor) -> Tensor:
    """Scalar products (w, v) of long rows (w, P) and (v, P), in float64.

    Sums of millions of products in float32 would be good to four digits only.
    """
    total = rows.new_zeros(len(rows), len(others), dtype=torch.float64)
    for part in parts(rows):
        total += rows[:, part] @ others[:, part].T
    return total


def transform(rows: Tensor, matrix: Tensor, out: Tensor | None = None) -> None:
    """Write matrix (r, w) · rows (w, P) to the first r rows of `out`, by default of `rows`."""
    out = rows if out is None else out
    for part in parts(rows):
        out[: len(matrix), part] = matrix @ rows[:, part]


def orthonormalize(rows: Tensor, out: Tensor | None = None) -> int:
    """Orthonormal basis of the span of rows (w, P), in the first r of `out`; returns r ≤ w.

    Without `out` the rows are overwritten.

    By the eigendecomposition of the scaled Gram matrix (Stathopoulos & Wu 2002), which reads the
    long rows only in matrix products. Round-off grows with the condition of that matrix, so
    rows that were far from orthogonal get a second pass. Dependent rows are dropped.
    """
    if len(rows) == 1:
        return _normalize(rows, rows if out is None else out)
    rank = len(rows)
    for _ in range(3):
        gram = inner(rows[:rank], rows[:rank])
        norms = gram.diagonal().sqrt()
        scale = torch.where(norms > 0, 1 / norms, 0.0)
        values, vectors = torch.linalg.eigh(gram * scale[:, None] * scale[None, :])
        keep = values > max(rank, 1) * 10 * torch.finfo(rows.dtype).eps * values[-1:].clamp(min=0)
        if not keep.any():
            return 0
        matrix = (vectors[:, keep] * scale[:, None] / values[keep].sqrt()).T
        transform(rows[:rank], matrix.to(rows), out)
        rows = rows if out is None else out
        rank = len(matrix)
        if values[keep][0] > 0.1:
            break
    return rank


def _normalize(row: Tensor, out: Tensor) -> int:
    """`orthonormalize` of one row (1, P), to the same bits in a fifth of the time."""
    square = inner(row, row)
    scale = torch.where(square > 0, 1 / square.sqrt(), 0.0)
    value = square * scale * scale
    if not value > 10 * torch.finfo(row.dtype).eps * value.clamp(min=0):
        return 0
    torch.mul(row, (scale / value.sqrt()).item(), out=out[:1])
    return 1
