"""Top eigenpairs of a symmetric operator that is known only by its block products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.randomness import generator

# operator(V, out): A V for V (P, k) with contiguous columns, written into out (P, k).
Operator = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class EigenPairs:
    """The k largest algebraic eigenvalues and what is known of their accuracy.

    values (k,) descending; vectors V (P, k) orthonormal; images AV (P, k); residuals (k,) =
    ‖A v − λ v‖, and some eigenvalue lies within each residual of its value; `converged` where all
    of them met the tolerance; `applications` block products were used, `products` vectors in all;
    `smallest` is the smallest Ritz value that was met, an upper bound of the smallest eigenvalue.
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

    def warm_start(self) -> Tensor:
        """(A − σI)V (P, k): one step of power iteration, at no further product.

        σ ≤ 0 is the smallest Ritz value met, so that negative eigenvalues are not amplified.
        """
        return self.images - min(0.0, self.smallest) * self.vectors


def random_start(size: int, columns: int, like: Tensor, seed: int = 0) -> Tensor:
    """Standard normal block (P, k) of the dtype and device of `like`, the same everywhere."""
    rows = torch.randn(columns, size, generator=generator(seed, "probes"), dtype=torch.float64)
    return rows.to(like).T


def top_eigenpairs(
    operator: Operator, start: Tensor, rtol: float, max_applications: int
) -> EigenPairs:
    """The k largest algebraic eigenpairs of a symmetric operator, from a start block (P, k).

    Rayleigh–Ritz on a basis that grows by the residuals of the pairs that have not converged; a
    full basis is cut back to the Ritz vectors and their last change, as in LOBPCG (Knyazev 2001;
    Duersch et al. 2018). One product with a good start block is enough, and every product bounds
    the residual. Power iteration, which LK24 uses, orders by |λ| and stalls on ties ±λ.

    Stops when each residual is at most rtol·|λ_1|, or after max_applications block products:
    `converged` says which. Cost: one product a round, and some (P, 3k) passes.
    """
    basis = _Basis(operator, start)
    while True:
        pairs, residuals, done = basis.rayleigh_ritz(rtol)
        if done.all() or basis.applications >= max_applications:
            return pairs
        if not basis.expand(residuals[~done]):
            return pairs  # nothing new to add: the basis is invariant to round-off


class _Basis:
    """An orthonormal basis Q and its images AQ, as rows (m, P) of reused memory."""

    def __init__(self, operator: Operator, start: Tensor) -> None:
        size, self.k = start.shape
        if self.k > size:
            raise ValueError(f"{self.k} eigenpairs asked of an operator of size {size}")
        # k = 1 is Lanczos with restarts; more room than 3 vectors is cheap there.
        capacity = min(max(3 * self.k, self.k + 8), size)
        self._operator = operator
        self._vectors = torch.empty(capacity, size, dtype=start.dtype, device=start.device)
        self._images = torch.empty_like(self._vectors)
        self._used = 0
        self._small = torch.empty(0, 0, dtype=start.dtype, device=start.device)  # Qᵀ A Q
        self._previous: Tensor | None = None  # last Ritz vectors in coordinates of Q
        self._current: Tensor | None = None
        self.applications = 0
        self.products = 0
        self.smallest = float("inf")
        rows = _orthonormal(start.T.contiguous())
        if len(rows) < self.k:
            extra = random_start(size, self.k - len(rows), like=start).T
            rows = _orthonormal(torch.cat([rows, extra]))
        self._append(rows)

    def _append(self, rows: Tensor) -> None:
        old, new = self._used, self._used + len(rows)
        self._vectors[old:new] = rows
        self._operator(self._vectors[old:new].T, self._images[old:new].T)
        self.applications += 1
        self.products += len(rows)
        cross = self._images[old:new] @ self._vectors[:new].T  # (w, m)
        small = cross.new_empty(new, new)
        small[:old, :old] = self._small
        small[old:] = cross
        small[:old, old:] = cross[:, :old].T
        self._small = (small + small.T) / 2
        self._used = new

    def rayleigh_ritz(self, rtol: float) -> tuple[EigenPairs, Tensor, Tensor]:
        """The best pairs in the basis, their residual rows (k, P), and which have converged."""
        ritz, coordinates = torch.linalg.eigh(self._small)
        self.smallest = min(self.smallest, ritz[0].item())
        values = ritz.flip(0)[: self.k]
        self._previous, self._current = self._current, coordinates.flip(1)[:, : self.k]
        vectors = self._current.T @ self._vectors[: self._used]
        images = self._current.T @ self._images[: self._used]
        residuals = torch.addcmul(images, values[:, None], vectors, value=-1)
        norms = residuals.norm(dim=1)
        done = norms <= rtol * values[0].abs()
        pairs = EigenPairs(
            values=values,
            vectors=vectors.T,
            images=images.T,
            residuals=norms,
            converged=bool(done.all()),
            applications=self.applications,
            products=self.products,
            smallest=self.smallest,
        )
        return pairs, residuals, done

    def expand(self, residuals: Tensor) -> bool:
        """Add residual directions (w, P) to the basis; False if they add nothing new."""
        if self._used + len(residuals) > len(self._vectors):
            self._restart()
        room = len(self._vectors) - self._used
        if room == 0:
            return False
        rows = residuals[:room]
        for _ in range(2):  # once is not enough when a residual lies almost in the basis
            basis = self._vectors[: self._used]
            rows = _orthonormal(rows - (rows @ basis.T) @ basis)
        if len(rows) == 0:
            return False
        self._append(rows)
        return True

    def _restart(self) -> None:
        """Keep the Ritz vectors and the directions in which they moved last."""
        assert self._current is not None
        keep = self._current
        if self._previous is not None and self._used >= 3 * self.k:
            padded = keep.new_zeros(self._used, self.k)
            padded[: len(self._previous)] = self._previous
            keep = torch.linalg.qr(torch.cat([keep, padded], dim=1)).Q
        count = keep.shape[1]
        self._vectors[:count] = keep.T @ self._vectors[: self._used]
        self._images[:count] = keep.T @ self._images[: self._used]
        self._small = keep.T @ self._small @ keep
        self._current = keep.T @ self._current
        self._used = count


def _orthonormal(rows: Tensor) -> Tensor:
    """An orthonormal basis (r, P) of the span of rows (w, P), r ≤ w: dependent ones are dropped.

    By the eigendecomposition of the scaled Gram matrix (Stathopoulos & Wu 2002), which reads the
    long rows only in matrix products. Twice, for orthogonality to round-off.
    """
    for _ in range(2):
        norms = rows.norm(dim=1)
        rows = rows[norms > 0]
        if len(rows) == 0:
            return rows
        scale = 1 / norms[norms > 0]
        gram = (rows @ rows.T) * scale[:, None] * scale[None, :]
        values, vectors = torch.linalg.eigh(gram)
        keep = values > values[-1] * len(rows) * torch.finfo(rows.dtype).eps * 10
        rows = (vectors[:, keep] * scale[:, None] / values[keep].sqrt()).T @ rows
    return rows
