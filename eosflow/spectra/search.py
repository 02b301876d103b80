"""Eigenpairs at an end of a symmetric operator's spectrum, each by itself, with a second look."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import inner, orthonormalize, parts, transform
from eosflow.spectra.randomness import generator

Which = Literal["largest", "smallest", "magnitude"]
WHICH = get_args(Which)
# apply(X, out): A x for each row x of X (m, P), written into the rows of out.
RowOperator = Callable[[Tensor, Tensor], object]
# seen(values (k,), residuals (k,), products): what is found so far.
Observer = Callable[[Tensor, Tensor, int], None]

# Vectors held beyond the pairs, and how few products a second look may take at least.
BEYOND = 20
SECOND_LOOK = 8
# How likely a second look may overlook an eigenvalue that the first did.
CHANCE = 0.01
# How much of its eigenvector may lie in what the second look leaves out.
SETTLED = 0.01
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
    converged there is a second look, see `_Basis.overlooked`, for up to half as many products as
    were taken, and the search goes on if that finds something. `trusted` pairs to start from, of
    which one product shows that they have converged, need none. Residuals after a search that went
    on leave out what was dropped for it: follow with a search from what was found.
    """
    basis, given = _Basis(apply, start, k, which, capacity), len(start)
    del start  # a vector may be half a gigabyte
    until = 0
    try:
        while True:
            basis.grow()
            values, residuals = basis.ritz()
            done = basis.converged(values[:k], residuals[:k], tolerance)
            observe(values[:k], residuals[:k], basis.products)
            if basis.products >= max_products or (basis.complete and len(values) >= k):
                break
            if done.all() and len(values) >= k and basis.products >= until:
                before = basis.products
                if trusted and before <= given:
                    break
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
        self._rows = start.new_empty(max(self._room + len(start), k + 3), size)
        self._used, self._ahead = 0, orthonormalize(start, out=self._rows)
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

    @property
    def _rounding(self) -> float:
        """What is 0 but for rounding."""
        return 10 * torch.finfo(self._rows.dtype).eps * self.scale

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
        self._apply(rows[old:], images)
        self.products += len(images)
        across = inner(images, rows)  # [b, m]
        small = across.new_zeros(new, new)
        small[:old, :old] = self._small
        small[old:] = across
        small[:old, old:] = across[:, :old].T
        self._small, self._used = (small + small.T) / 2, new
        self.scale = max(self.scale, self._small.abs().max().item())
        lengths = _without(images, across, rows)
        # Once is enough unless much of it has cancelled (Daniel et al., Math. Comp. 1976).
        if (lengths < CANCELLED * (lengths.square() + across.square().sum(1)).sqrt()).any():
            lengths = _without(images, inner(images, rows), rows)
        self._go_beyond(images, lengths)

    def _go_beyond(self, images: Tensor, lengths: Tensor) -> None:
        """F and C from what the images of Q's last rows have beyond Q; those of others have none.

        The images are of these lengths, and F takes their place.
        """
        dropped = lengths[lengths <= self._rounding]
        self._floor = max(self._floor, dropped.max().item() if len(dropped) else 0.0)
        left = images.shape[1] - self._used  # dimensions
        beyond = images[lengths > self._rounding] if left else images[:0]
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
        order = (-self._rank(values)).argsort(stable=True)
        self.values, self._vectors = values[order], vectors[:, order]
        self._residuals = (self._beyond @ self._vectors).norm(dim=0).clamp(min=self._floor)
        return self.values, self._residuals

    def converged(self, values: Tensor, residuals: Tensor, tolerance: float) -> Tensor:
        """Which residuals are below the tolerance, relative to their own values, or rounding."""
        return residuals <= (tolerance * values.abs()).clamp(min=10 * self._rounding)

    def overlooked(self, k: int, tolerance: float, products: int, observe: Observer) -> bool:
        """Whether A has an eigenvalue beyond the k-th that Q has no part of, as of a multiple one.

        Q is cut to the pairs and to what has so small residuals that it has next to no part of a
        larger one. By Lanczos from a random vector, orthogonal to Q, until the largest of m steps
        is so far below that it hides a larger one with a probability of at most `CHANCE`, by
        1.648 √P exp(−√ε (2m − 1)) for one that is larger by the share ε of the range. Source:
        Kuczyński & Woźniakowski, SIAM J. Matrix Anal. 1992. F is lost.
        """
        wanted = self._rank(self.values)[k - 1].item()
        lowest = -wanted if self._which == "magnitude" else self._rank(self.values).min().item()
        apart = wanted - self._rank(self.values[k:])
        shares = torch.where(apart > 0, self._residuals[k:] / apart, torch.inf).square().cumsum(0)
        settled = k + int((shares <= SETTLED).sum())
        self._ahead, self._beyond = 0, self._beyond[:0]
        self._cut(min(settled, len(self._rows) - 3))
        held, (before, vector, image) = self._rows[: self._used], self._rows[self._used :][:3]
        self._draw(vector)
        diagonal: list[float] = []
        beside: list[float] = []
        for step in range(1, products + 1):
            self._apply(vector[None], image[None])
            self.products += 1
            observe(self.values[:k], self._residuals[:k], self.products)
            diagonal.append(inner(image[None], vector[None]).item())
            image.add_(vector, alpha=-diagonal[-1])
            if beside:
                image.add_(before, alpha=-beside[-1])
            length = _without(image[None], inner(image[None], held), held).item()
            ranks = self._rank(_tridiagonal(diagonal, beside))
            best = ranks.max().item()
            if best > wanted + tolerance * abs(wanted):
                return True
            span = wanted - min(lowest, ranks.min().item())
            exponent = math.sqrt(max(wanted - best, 0.0) / (span or 1.0)) * (2 * step - 1)
            hidden = 1.648 * math.sqrt(len(image)) * math.exp(-exponent)
            if hidden <= CHANCE or length <= self._rounding:
                return False
            beside.append(length)
            before, vector, image = vector, image.div_(length), before
        return False

    def _rank(self, values: Tensor) -> Tensor:
        """What is larger the sooner a value is wanted."""
        return {"largest": values, "smallest": -values, "magnitude": values.abs()}[self._which]

    def restart(self, k: int) -> None:
        """Cut Q back to its best Ritz vectors where it is full."""
        if self._used + max(1, self._ahead) > self._room:
            self._cut(min(self._used - 1, k + max(1, (self._capacity - k) // 3)))

    def look_again(self, k: int) -> None:
        """Keep the pairs alone, and go on from a random vector orthogonal to them."""
        self._ahead, self._beyond = 0, self._beyond[:0]
        self._cut(k)
        self._take_fresh()
        self._beyond = self._small.new_zeros(1, k)

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


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    """The eigenvalues of a symmetric tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.tensor(beside, dtype=torch.float64)
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    values: Tensor = torch.linalg.eigvalsh(matrix)
    return values
