"""Eigenpairs at an end of a symmetric operator's spectrum, each by itself, with a second look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import inner, orthonormalize, parts, transform
from eosflow.spectra.randomness import generator

Which = Literal["largest", "smallest", "magnitude"]
WHICH = get_args(Which)
# apply(X): A x for each row x of X (m, P), in new memory.
RowOperator = Callable[[Tensor], Tensor]
# seen(values (k,), residuals (k,), products): what is found so far.
Observer = Callable[[Tensor, Tensor, int], None]

# Vectors held beyond the pairs, and how few a second look takes at least.
BEYOND = 20
SECOND_LOOK = 8
# A vector that is shorter than this share of what it was is made orthogonal once more.
CANCELLED = 0.5


@dataclass(frozen=True)
class Found:
    """k pairs in the order wanted: values (k,), rows (k, P) orthonormal, residuals ‖Av − λv‖ (k,).

    `converged` (k,) by the search's own tolerance; `products` with single vectors were taken;
    `interrupted` if someone stopped it.
    """

    values: Tensor
    rows: Tensor
    residuals: Tensor
    converged: Tensor
    products: int
    interrupted: bool = False


def search(
    apply: RowOperator,
    start: Tensor,
    k: int,
    which: Which,
    tolerance: float,
    max_products: int,
    *,
    trusted: bool = False,
    capacity: int | None = None,
    observe: Observer = lambda *_: None,
) -> Found:
    """Thick-restart block Lanczos from the rows of start (b, P), in its precision.

    Each pair must have ‖Av − λv‖ ≤ tolerance |λ|, or rounding. Source: Wu & Simon, SIAM J. Matrix
    Anal. 2000. A search from one vector sees one eigenvector of a multiple eigenvalue, and may end
    at a neighbour of the one that is wanted where the start has little of it. So when all have
    converged there is a second look, from an independent random vector orthogonal to what was
    found, until its best lies below them by more than its residual, or for half as many products
    as were taken. `trusted` pairs to start from, of which one product shows that they have
    converged, need none. Residuals after a second look leave out what was dropped for it: follow
    with a search from what was found.
    """
    basis, given = _Basis(apply, start, k, which, capacity), len(start)
    del start  # a vector may be half a gigabyte
    second, until = False, 0
    try:
        while True:
            basis.grow()
            values, residuals = basis.ritz()
            done = basis.converged(values[:k], residuals[:k], tolerance)
            observe(values[:k], residuals[:k], basis.products)
            if basis.products >= max_products or (basis.complete and len(values) >= k):
                break
            if not done.all() or len(values) < k:
                second = False
            elif trusted and basis.products <= given:
                break
            elif not second:
                second, until = True, basis.products + max(SECOND_LOOK, basis.products // 2)
                basis.look_again(k)
                continue
            elif basis.products >= until or basis.below(values, residuals, k):
                break
            basis.restart(k)
    except KeyboardInterrupt:
        if not len(basis.values):
            raise
        return basis.found(k, tolerance, interrupted=True)
    return basis.found(k, tolerance)


class _Basis:
    """Orthonormal rows Q with AQ = QT + FC: what is held of A, and the rows F that come next."""

    def __init__(
        self, apply: RowOperator, start: Tensor, k: int, which: Which, capacity: int | None
    ) -> None:
        size = start.shape[1]
        self._apply, self._which = apply, which
        self._capacity = min(size, capacity or 2 * k + BEYOND)
        self._rows = start.new_empty(min(size, self._capacity + len(start)), size)
        self._next = start.clone()
        self._next = self._next[: orthonormalize(self._next)]
        self._used = 0
        self._small = torch.zeros(0, 0, dtype=torch.float64, device=start.device)  # T
        self._beyond = self._small  # C
        self._vectors, self._residuals = self._small, self._small.diagonal()
        self.values = self._residuals
        self._stream = generator(0, "second look")
        self.products = 0
        self.scale = self._floor = 0.0

    @property
    def complete(self) -> bool:
        """Whether Q spans the whole space."""
        return self._used == self._rows.shape[1]

    def grow(self) -> None:
        """Take F into Q, with a product for each of its rows."""
        if not len(self._next):
            self._next = self._fresh()
        old, new = self._used, self._used + len(self._next)
        rows = self._rows[:new]
        rows[old:] = self._next
        images = self._apply(rows[old:])
        self.products += len(images)
        across = inner(images, rows)  # [b, m]
        small = across.new_zeros(new, new)
        small[:old, :old] = self._small
        small[old:] = across
        small[:old, old:] = across[:, :old].T
        self._small, self._used = (small + small.T) / 2, new
        self.scale = max(self.scale, self._small.abs().max().item())
        before = inner(images, images).diagonal().sqrt()
        lengths = _without(images, across, rows)
        # Once is enough unless much of it has cancelled (Daniel et al., Math. Comp. 1976).
        if (lengths < CANCELLED * before).any():
            lengths = _without(images, inner(images, rows), rows)
        # The images of Q's last rows have a part along F; those of its others have none.
        rounding = 10 * torch.finfo(rows.dtype).eps * self.scale
        beyond = images[lengths > rounding]
        dropped = lengths[lengths <= rounding]
        self._floor = max(self._floor, dropped.max().item() if len(dropped) else 0.0)
        rank = min(orthonormalize(beyond), rows.shape[1] - new) if len(beyond) else 0
        self._next = beyond[:rank]
        self._beyond = small.new_zeros(rank, new)
        self._beyond[:, old:] = inner(self._next, images)

    def ritz(self) -> tuple[Tensor, Tensor]:
        """All Ritz values in the order wanted, and their residuals."""
        values, vectors = torch.linalg.eigh(self._small)
        key = {"largest": -values, "smallest": values, "magnitude": -values.abs()}[self._which]
        order = key.argsort(stable=True)
        self.values, self._vectors = values[order], vectors[:, order]
        self._residuals = (self._beyond @ self._vectors).norm(dim=0).clamp(min=self._floor)
        return self.values, self._residuals

    def converged(self, values: Tensor, residuals: Tensor, tolerance: float) -> Tensor:
        """Which residuals are below the tolerance, relative to their own values, or rounding."""
        rounding = 100 * torch.finfo(self._rows.dtype).eps * self.scale
        return residuals <= (tolerance * values.abs()).clamp(min=rounding)

    def below(self, values: Tensor, residuals: Tensor, k: int) -> bool:
        """Whether the best of the second look lies below the pairs by more than its residual."""
        if len(values) <= k:
            return False
        if self._which == "magnitude":
            values = values.abs()
        return bool((values[k - 1] - values[k]).abs() > residuals[k])

    def restart(self, k: int) -> None:
        """Cut Q back to its best Ritz vectors where it is full."""
        if self._used + max(1, len(self._next)) > len(self._rows):
            self._cut(min(self._used - 1, k + max(1, (self._capacity - k) // 3)))

    def look_again(self, k: int) -> None:
        """Keep the pairs alone, and go on from a random vector orthogonal to them."""
        self._cut(k)
        self._next = self._fresh()
        self._beyond = self._small.new_zeros(len(self._next), k)

    def _cut(self, keep: int) -> None:
        turn = self._vectors[:, :keep]
        transform(self._rows[: self._used], turn.T.to(self._rows))
        self._small = torch.diag(self.values[:keep])
        self._beyond = self._beyond @ turn
        self.values, self._residuals = self.values[:keep], self._residuals[:keep]
        self._vectors = torch.eye(keep, dtype=turn.dtype, device=turn.device)
        self._used = keep

    def _fresh(self) -> Tensor:
        """A random row orthogonal to Q."""
        size, held = self._rows.shape[1], self._rows[: self._used]
        drawn = torch.randn(1, size, generator=self._stream, dtype=self._rows.dtype)
        row = drawn.to(self._rows)
        for _ in range(2):
            row = row - inner(row, held).to(row) @ held
        return row.div_(row.norm())

    def found(self, k: int, tolerance: float, interrupted: bool = False) -> Found:
        """The best k pairs, or as many as there are."""
        values, residuals = self.values[:k], self._residuals[:k]
        held = self._rows[: len(self._vectors)]
        rows = self._vectors[:, :k].T.to(held) @ held
        done = self.converged(values, residuals, tolerance)
        return Found(values, rows, residuals, done, self.products, interrupted)


def _without(rows: Tensor, along: Tensor, basis: Tensor) -> Tensor:
    """Subtract `along` (b, m) · basis (m, P) from the rows (b, P), in place; their lengths (b,)."""
    squares = rows.new_zeros(len(rows), dtype=torch.float64)
    for part in parts(basis):
        piece = rows[:, part]
        piece -= along.to(rows) @ basis[:, part]
        squares += piece.square().sum(1)
    return squares.sqrt()
