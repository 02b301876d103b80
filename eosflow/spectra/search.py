"""Eigenpairs at an end of a symmetric operator's spectrum, each by itself, with a second look."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from eosflow.spectra.ends import Found, RowOperator, Which, converged, rank, rounding
from eosflow.spectra.randomness import generator
from eosflow.spectra.rows import inner, orthonormalize, transform
from eosflow.spectra.second_look import Complement, overlooked, without

# seen(values (k,), residuals (k,), products): what is found so far.
Observer = Callable[[Tensor, Tensor, int], None]

# Vectors held beyond the pairs, and how few products a second look may take at least.
BEYOND = 20
SECOND_LOOK = 8
# Vectors that it needs beside those it holds, F and one for each of F.
SPARE = 3
# A vector that is shorter than this share of what it was is made orthogonal once more.
CANCELLED = 0.5
# How much of its eigenvector may lie in what the second look leaves out.
SETTLED = 0.01


def search(
    apply: RowOperator,
    start: Tensor,
    k: int,
    which: Which,
    tolerance: float,
    max_products: int,
    *,
    capacity: int | None = None,
    observe: Observer = lambda *_: None,
) -> Found:
    """Thick-restart block Lanczos from the rows of start (b, P), in its precision.

    Each pair must have ‖Av − λv‖ ≤ tolerance |λ|, or rounding. Source: Wu & Simon, SIAM J. Matrix
    Anal. 2000. A search from one vector sees one eigenvector of a multiple eigenvalue, and may end
    at a neighbour of the one that is wanted where the start has little of it. So when all have
    converged there is a second look, see `_Basis.overlooked`, for up to half as many products as
    were taken, and the search goes on if that finds something. Residuals are those of the
    recurrence, and leave out what was dropped for a search that went on: follow with `checked`.
    """
    basis = _Basis(apply, start, k, which, capacity)
    del start  # a vector may be half a gigabyte
    until = 0
    try:
        while True:
            basis.grow()
            values, residuals = basis.ritz()
            done = converged(values[:k], residuals[:k], tolerance, basis.rounding)
            observe(values[:k], residuals[:k], basis.products)
            if basis.products >= max_products or (basis.complete and len(values) >= k):
                break
            if done.all() and len(values) >= k and basis.products >= until:
                before = basis.products
                most = max(SECOND_LOOK, before // 2)
                if not basis.overlooked(k, tolerance, most, observe):
                    break
                until = 2 * basis.products - before  # as many as it took to see it
                basis.look_again(k)
                continue
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
        self._room = min(size, self._capacity + len(start))
        # Q, then F, in whose place the images are taken.
        self._rows = start.new_empty(max(self._room + len(start), k + 2 * len(start) + SPARE), size)
        self._used, self._ahead = 0, orthonormalize(start, out=self._rows)
        self._small = torch.zeros(0, 0, dtype=torch.float64, device=start.device)  # T
        self._beyond = self._small.new_zeros(self._ahead, 0)  # C
        self._vectors, self._residuals = self._small, self._small.diagonal()
        self.values = self._residuals
        self._stream = generator(0, "second look")
        self.products = 0
        self.scale = self._floor = 0.0

    @property
    def complete(self) -> bool:
        """Whether Q spans the whole space."""
        return self._used == self._rows.shape[1]

    @property
    def rounding(self) -> float:
        """What is 0 but for rounding."""
        return rounding(self._rows, self.scale)

    @property
    def _next(self) -> Tensor:
        """F."""
        return self._rows[self._used : self._used + self._ahead]

    def grow(self) -> None:
        """Take F into Q, with a product for each of its rows."""
        if not self._ahead:
            self._take_fresh()
        old, new = self._used, self._used + self._ahead
        rows, images = self._rows[:new], self._rows[new : new + self._ahead]
        self._product(rows[old:], images)
        across = inner(images, rows)  # [b, m]
        small = across.new_zeros(new, new)
        small[:old, :old] = self._small
        small[old:] = across
        small[:old, old:] = across[:, :old].T
        self._small, self._used = (small + small.T) / 2, new
        self.scale = max(self.scale, self._small.abs().max().item())
        lengths = without(images, across, rows)
        # Once is enough unless much of it has cancelled (Daniel et al., Math. Comp. 1976).
        if (lengths < CANCELLED * (lengths.square() + across.square().sum(1)).sqrt()).any():
            lengths = without(images, inner(images, rows), rows)
        self._go_beyond(images, lengths)

    def _product(self, rows: Tensor, out: Tensor) -> None:
        self._apply(rows, out)
        self.products += len(rows)

    def _go_beyond(self, images: Tensor, lengths: Tensor) -> None:
        """F and C from what the images of Q's last rows have beyond Q; those of others have none.

        The images are of these lengths, and F takes their place.
        """
        dropped = lengths[lengths <= self.rounding]
        self._floor = max(self._floor, dropped.max().item() if len(dropped) else 0.0)
        left = images.shape[1] - self._used  # dimensions
        beyond = images[lengths > self.rounding] if left else images[:0]
        if len(images) == 1 == len(beyond):
            self._ahead, along = 1, lengths[:, None]
            images.div_(lengths.item())
        else:
            self._ahead = min(orthonormalize(beyond), left) if len(beyond) else 0
            along = inner(beyond[: self._ahead], images)
            images[: self._ahead] = beyond[: self._ahead]
        self._beyond = self._small.new_zeros(self._ahead, self._used)
        self._beyond[:, self._used - len(images) :] = along

    def ritz(self) -> tuple[Tensor, Tensor]:
        """All Ritz values in the order wanted, and their residuals."""
        values, vectors = torch.linalg.eigh(self._small)
        order = (-rank(self._which, values)).argsort(stable=True)
        self.values, self._vectors = values[order], vectors[:, order]
        self._residuals = (self._beyond @ self._vectors).norm(dim=0).clamp(min=self._floor)
        return self.values, self._residuals

    def overlooked(self, k: int, tolerance: float, products: int, observe: Observer) -> bool:
        """Whether A has an eigenvalue beyond the k-th that Q has no part of, as of a multiple one.

        Q keeps what leaves room for it, and F is lost.
        """
        ranks, spare = rank(self._which, self.values), 2 * self._ahead + SPARE
        wanted = ranks[k - 1].item()
        edge = wanted + max(tolerance * abs(wanted), 10 * self.rounding)
        keep = min(self._used, len(self._rows) - spare)
        if self._which == "magnitude":  # either end has another complement, unless F hardly counts
            apart = wanted - ranks[k:]
            shares = torch.where(apart > 0, self._residuals[k:] / apart, torch.inf).square()
            keep = min(keep, k + int((shares.cumsum(0) <= SETTLED).sum()))
        self._cut(keep)
        held, ahead = self._rows[:keep], self._next
        left = Complement(held, self.values, ahead, self._beyond)
        memory = self._rows[keep + len(ahead) :][:SPARE]
        self._draw(memory[0])

        def apply(rows: Tensor, out: Tensor) -> None:
            self._product(rows, out)
            observe(self.values[:k], self._residuals[:k], self.products)

        edges = {"largest": [edge], "smallest": [-edge], "magnitude": [edge, -edge]}[self._which]
        rank_of = functools.partial(rank, self._which)
        found = overlooked(apply, left, memory, rank_of, edges, self.rounding, products)
        self._ahead, self._beyond = 0, self._beyond[:0]
        return found

    def restart(self, k: int) -> None:
        """Cut Q back to its best Ritz vectors where it is full."""
        if self._used + max(1, self._ahead) > self._room:
            self._cut(min(self._used - 1, k + max(1, (self._capacity - k) // 3)))

    def look_again(self, k: int) -> None:
        """Keep the pairs alone, and go on from a random vector orthogonal to them."""
        self._ahead, self._beyond = 0, self._beyond[:0]
        self._cut(k)
        self._take_fresh()

    def _cut(self, keep: int) -> None:
        turn, ahead = self._vectors[:, :keep], self._next.clone()
        transform(self._rows[: self._used], turn.T.to(self._rows))
        self._rows[keep : keep + len(ahead)] = ahead
        self._small = torch.diag(self.values[:keep])
        self._beyond = self._beyond @ turn
        self.values, self._residuals = self.values[:keep], self._residuals[:keep]
        self._vectors = torch.eye(keep, dtype=turn.dtype, device=turn.device)
        self._used = keep

    def _take_fresh(self) -> None:
        """Make F of a random row."""
        self._ahead = 1
        self._beyond = self._small.new_zeros(1, self._used)
        self._draw(self._next[0])

    def _draw(self, out: Tensor) -> None:
        """Write a random row orthogonal to Q."""
        size, held = self._rows.shape[1], self._rows[: self._used]
        drawn = torch.randn(1, size, generator=self._stream, dtype=self._rows.dtype)
        row = drawn.to(self._rows)
        for _ in range(2):
            row = row - inner(row, held).to(row) @ held
        out.copy_(row[0].div_(row.norm()))

    def found(self, k: int, tolerance: float, interrupted: bool = False) -> Found:
        """The best k pairs, or as many as there are."""
        values, residuals = self.values[:k], self._residuals[:k]
        held = self._rows[: len(self._vectors)]
        rows = self._vectors[:, :k].T.to(held) @ held
        done = converged(values, residuals, tolerance, self.rounding)
        return Found(values, rows, residuals, done, self.products, self.scale, interrupted)
