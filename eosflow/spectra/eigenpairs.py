"""Top eigenpairs of a symmetric operator that is known only by its block products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.spectra.randomness import generator
from eosflow.spectra.rows import COLUMNS, ENTRIES, inner, orthonormalize, parts, transform

# operator(V, out): A V for V (P, k) with contiguous columns, written into out (P, k).
Operator = Callable[[Tensor, Tensor], Tensor]

# How far a start block goes beyond plain power iteration, and how far along the last change.
RELAXATION = 1.5
DRIFT = 0.7


@dataclass(frozen=True)
class EigenPairs:
    """The k largest algebraic eigenvalues and what is known of their accuracy.

    values (k,) descending, float64; vectors V (P, k) orthonormal; images AV (P, k); residuals
    (k,) = ‖A v − λ v‖, and some eigenvalue lies within each residual of its value; `converged`
    where all of them met the tolerance; `applications` block products were used, `products` vectors
    in all; `smallest` is the smallest Ritz value seen, an upper bound of the smallest eigenvalue.
    """

    values: Tensor
    vectors: Tensor
    images: Tensor
    residuals: Tensor
    converged: bool
    applications: int
    products: int
    smallest: float

    @property
    def relative_residual(self) -> float:
        """max_m ‖A v_m − λ_m v_m‖ / |λ_1|, the number that the tolerance bounds; 0 if A = 0."""
        tiny = torch.finfo(self.values.dtype).tiny
        return self.residuals.max().item() / max(abs(self.values[0].item()), tiny)

    def warm_start(self, previous: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """A start block (P, k) for a nearby operator, in `out` if given, at no further product.

        V + 1.5 (AV − VΛ)(Λ − σ)⁻¹ + 0.7 (V − V_p Q): over-relaxed power iteration, and the drift
        since the vectors V_p (P, k) of the operator before, with Q the rotation that brings V_p
        closest to V. σ ≤ 0 is the smallest Ritz value seen, so that negative eigenvalues are not
        amplified.
        """
        start = torch.empty_like(self.vectors) if out is None else out
        shift = min(0.0, self.smallest)
        # Where λ_m is far below λ_1, 1/(λ_m − σ) is large and would make noise of the residual.
        values = self.values.to(start)
        distance = (values - shift).clamp(min=0.05 * (values[0].item() - shift))
        gain = torch.where(distance > 0, RELAXATION / distance, 0.0)[:, None]
        keep = 1 - gain * values[:, None]
        if previous is not None:
            left, _, right = torch.linalg.svd(inner(previous.T, self.vectors.T))
            keep = keep + DRIFT
            turn = (left @ right).T.to(start) * -DRIFT
        rows, vectors, images = start.T, self.vectors.T, self.images.T
        columns = COLUMNS if previous is not None else ENTRIES // len(vectors)
        for part in parts(vectors, columns):
            piece = torch.mul(images[:, part], gain).addcmul_(vectors[:, part], keep)
            if previous is not None:
                piece.addmm_(turn, previous.T[:, part])
            rows[:, part] = piece
        return start


def random_start(size: int, columns: int, like: Tensor, seed: int = 0) -> Tensor:
    """Standard normal block (P, k) of the dtype and device of `like`, the same everywhere."""
    rows = torch.randn(columns, size, generator=generator(seed, "probes"), dtype=torch.float64)
    return rows.to(like).T


class Workspace:
    """Memory for eigenpairs of one size, reused from call to call.

    Fresh pages can cost more than the arithmetic done in them. Pairs found with a workspace are
    views of it, good until the next call with the same one.
    """

    def __init__(self, size: int, k: int, like: Tensor) -> None:
        # k = 1 is Lanczos with restarts; more room than 3 vectors is cheap there.
        self.capacity = min(max(3 * k, k + 8), size)
        self.vectors = like.new_empty(self.capacity, size)
        self.images = like.new_empty(self.capacity, size)
        self.ritz_vectors = like.new_empty(k, size)
        self.ritz_images = like.new_empty(k, size)

    @property
    def bytes(self) -> int:
        """Its size."""
        rows = 2 * (self.capacity + len(self.ritz_vectors))
        return rows * self.vectors.shape[1] * self.vectors.element_size()

    def take_vectors(self) -> Tensor:
        """The vectors (P, k) found last, to be kept; others take their place in the workspace."""
        vectors = self.ritz_vectors
        self.ritz_vectors = torch.empty_like(vectors)
        return vectors.T


def top_eigenpairs(
    operator: Operator,
    start: Tensor,
    rtol: float,
    max_applications: int,
    workspace: Workspace | None = None,
    wanted: int | None = None,
) -> EigenPairs:
    """The k largest algebraic eigenpairs of a symmetric operator, from a start block (P, k).

    Rayleigh–Ritz on a basis that grows by the residuals of the pairs that have not converged; a
    full basis is cut back to the Ritz vectors and their last change, as in LOBPCG (Knyazev 2001;
    Duersch et al. 2018). One product with a good start block is enough, and every product bounds
    the residual. Power iteration, which LK24 uses, orders by |λ| and stalls on ties ±λ.

    Stops when each residual is at most rtol·|λ_1|, or after max_applications block products:
    `converged` says which. With `wanted` only the residuals of the first so many pairs count. Cost:
    one product per round, and some (P, 3k) passes.

    Raises: ValueError if more pairs are asked for than the operator has.
    """
    size, k = start.shape
    if k > size:
        raise ValueError(f"{k} eigenpairs asked of an operator of size {size}")
    basis = _Basis(operator, start, workspace or Workspace(size, k, start))
    while True:
        pairs, done = basis.rayleigh_ritz(rtol, wanted)
        if done.all() or basis.applications >= max_applications:
            return pairs
        if not basis.expand(pairs, ~done):
            return pairs  # nothing new to add: the basis is invariant to round-off


class _Basis:
    """An orthonormal basis Q and its images AQ, as rows (m, P) of a workspace."""

    def __init__(self, operator: Operator, start: Tensor, workspace: Workspace) -> None:
        size, self.k = start.shape
        self._operator = operator
        self._workspace = workspace
        self._used = 0
        self._small = start.new_empty(0, 0, dtype=torch.float64)  # Qᵀ A Q
        self._current = self._small  # Ritz vectors in coordinates of Q
        self._previous: Tensor | None = None  # the last ones
        self.applications = 0
        self.products = 0
        self.smallest = float("inf")
        rows = workspace.vectors[: self.k]
        rank = orthonormalize(start.T, out=rows)
        if rank < self.k:
            rows[rank:] = random_start(size, self.k - rank, like=start).T
            orthonormalize(rows)
        self._append(self.k)

    def _append(self, count: int) -> None:
        """Apply the operator to the next `count` rows, which are orthonormal to those before."""
        old, new = self._used, self._used + count
        vectors, images = self._workspace.vectors, self._workspace.images
        self._operator(vectors[old:new].T, images[old:new].T)
        self.applications += 1
        self.products += count
        cross = inner(images[old:new], vectors[:new])  # [count, m]
        small = cross.new_empty(new, new)
        small[:old, :old] = self._small
        small[old:] = cross
        small[:old, old:] = cross[:, :old].T
        self._small = (small + small.T) / 2
        self._used = new

    def rayleigh_ritz(self, rtol: float, wanted: int | None) -> tuple[EigenPairs, Tensor]:
        """The best k pairs in the basis, and which of them (k,) are good enough."""
        ritz, coordinates = torch.linalg.eigh(self._small)
        self.smallest = min(self.smallest, ritz[0].item())
        values = ritz.flip(0)[: self.k]
        self._previous, self._current = self._current, coordinates.flip(1)[:, : self.k]
        space = self._workspace
        squares = torch.zeros_like(values)
        turn, factors = self._current.T.to(space.vectors), values.to(space.vectors)[:, None]
        for part in parts(space.vectors):
            vectors, images = space.ritz_vectors[: self.k, part], space.ritz_images[: self.k, part]
            torch.mm(turn, space.vectors[: self._used, part], out=vectors)
            torch.mm(turn, space.images[: self._used, part], out=images)
            squares += torch.addcmul(images, vectors, factors, value=-1).square_().sum(1)
        residuals = squares.sqrt()
        done = residuals <= rtol * values[0].abs()
        if wanted is not None:
            done[wanted:] = True
        pairs = EigenPairs(
            values=values,
            vectors=space.ritz_vectors[: self.k].T,
            images=space.ritz_images[: self.k].T,
            residuals=residuals,
            converged=bool(done.all()),
            applications=self.applications,
            products=self.products,
            smallest=self.smallest,
        )
        return pairs, done

    def expand(self, pairs: EigenPairs, chosen: Tensor) -> bool:
        """Add the residuals of the chosen pairs to the basis; False if they add nothing new."""
        space = self._workspace
        chosen = chosen.nonzero()[:, 0]
        if self._used + len(chosen) > space.capacity:
            self._restart()
        chosen = chosen[: space.capacity - self._used]
        rows = space.vectors[self._used : self._used + len(chosen)]
        for row, index in zip(rows, chosen.tolist(), strict=True):
            vector, image = space.ritz_vectors[index], space.ritz_images[index]
            torch.add(image, vector, alpha=-pairs.values[index].item(), out=row)
        basis = space.vectors[: self._used]
        for _ in range(2):  # once is not enough when a residual lies almost in the basis
            rows.addmm_(inner(rows, basis).to(rows), basis, alpha=-1)
            rows = rows[: orthonormalize(rows)]
        if len(rows) == 0:
            return False
        self._append(len(rows))
        return True

    def _restart(self) -> None:
        """Keep the Ritz vectors and the directions in which they moved last."""
        keep = self._current
        if self._previous is not None and 2 * self.k < self._used:
            padded = keep.new_zeros(self._used, self._previous.shape[1])
            padded[: len(self._previous)] = self._previous
            keep = torch.linalg.qr(torch.cat([keep, padded], dim=1)).Q
        for rows in (self._workspace.vectors, self._workspace.images):
            transform(rows[: self._used], keep.T.to(rows))
        self._small = keep.T @ self._small @ keep
        self._current = keep.T @ self._current
        self._used = keep.shape[1]
