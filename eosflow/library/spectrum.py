"""Eigenvalues and eigenvectors at the ends of the spectrum of a problem's curvature."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args, overload

import torch
from torch import Tensor

from eosflow.library.labels import one_of
from eosflow.library.memory import refuse_beyond
from eosflow.library.problem import Problem
from eosflow.library.shown import Shown, announce
from eosflow.objectives.base import Evaluation, Matrix
from eosflow.spectra.eigenpairs import random_start
from eosflow.spectra.ends import WHICH, Found, RowOperator, Which, checked
from eosflow.spectra.search import BEYOND, search
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MAX_PRODUCTS = 2500  # with single vectors
# What the vectors of a search may take; of a large model a few are held, and it restarts often.
VECTOR_BYTES = 2 * 2**30
LEAST_BEYOND = 2
# Fewer vectors cost a product or two; more cost passes over them at each product, and memory.
CHEAP_BYTES = 128 * 2**20
FEW_BEYOND = 8
# What a search in float32 leaves of the tolerance to rounding.
OF_TOLERANCE = 0.8
# Products that a search takes, and for each pair, as seen on networks of 40,000 to 124 million.
USUAL, USUAL_EACH = 20, 10


@dataclass(frozen=True)
class EigenPairs:
    """k eigenpairs Av = λv of a symmetric matrix A (P, P), ordered by `which`.

    `values` λ (k,) float64; `vectors` v (P, k) orthonormal; `residuals` (k,) = ‖Av − λv‖: A has an
    eigenvalue within the residual of each value. `converged` (k,): whether the residual is at most
    tolerance · |λ| or rounding. `products`: the number of products of A with a vector.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    converged: Tensor
    products: int


@overload
def eigenpairs(
    problem: Problem, k: int = ..., matrix: Matrix = ..., *, which: Which = ...,
    tolerance: float = ..., groups: None = ..., progress: bool = ...,
) -> EigenPairs: ...  # fmt: skip
@overload
def eigenpairs(
    problem: Problem, k: int = ..., matrix: Matrix = ..., *, which: Which = ...,
    tolerance: float = ..., groups: Literal["layer"], progress: bool = ...,
) -> pd.DataFrame: ...  # fmt: skip
def eigenpairs(
    problem: Problem,
    k: int = 5,
    matrix: Matrix = "hessian",
    *,
    which: Which = "largest",
    tolerance: float = 1e-4,
    groups: Literal["layer"] | None = None,
    progress: bool = False,
) -> EigenPairs | pd.DataFrame:
    """k eigenpairs Av = λv of 𝓗, G or R at the problem's weights (E1–E3).

    `matrix`: hessian, gauss_newton or residual. `which`: largest (algebraically), smallest (the
    most negative first), or magnitude (the largest |λ|). A pair has converged if
    ‖Av − λv‖ ≤ tolerance · |λ|. groups="layer" takes each layer's diagonal block instead.
    `progress` shows the search on stderr. Ctrl-C returns the best pairs so far, with a warning and
    none marked as converged.

    Returns: see `EigenPairs`; with groups, a frame with `group, parameters, m, eigenvalue,
    residual, converged`.

    Raises: UserError for an unknown matrix, more pairs than parameters, or more memory than the
    machine has.

    >>> import torch, eosflow
    >>> line = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0], [1.0]])
    >>> problem = eosflow.Problem(line, "half_squared_error", data)
    >>> pairs = eosflow.eigenpairs(problem, k=2)
    >>> [round(value, 6) for value in pairs.values.tolist()]  # of E[x xᵀ]
    [2.0, 0.5]
    >>> bool(pairs.converged.all())
    True
    """
    one_of("matrix", matrix, get_args(Matrix))
    one_of("which", which, WHICH)
    if groups not in (None, "layer"):
        raise UserError(f"groups: {groups!r} was given; allowed: None, 'layer'.")
    if not 0 < tolerance < 1:
        raise UserError(f"tolerance: {tolerance} was given; it must be between 0 and 1.")
    size = len(problem.theta)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= size:
        raise UserError(f"k: {k!r} was given; it must be 1 to {size}, the number of parameters.")
    evaluation = problem.evaluation
    if progress:
        products = USUAL + USUAL_EACH * k
        announce("eigenpairs", products, problem.gradient_seconds(), problem.search_dtype)
    request = _Request(problem, evaluation, matrix, which, tolerance, progress)
    if groups is None:
        pairs = request.pairs(slice(0, size), k, "eigenpairs")
        problem.network.check_again()
        return pairs
    import pandas as pd

    frames = []
    named = zip(problem.network.group_names, problem.network.groups, strict=True)
    for name, group in named:
        width = group.stop - group.start
        found = request.pairs(group, min(k, width), name or "module")
        frames.append(
            pd.DataFrame(
                {
                    "group": name or "module",
                    "parameters": width,
                    "m": range(1, len(found.values) + 1),
                    "eigenvalue": found.values.tolist(),
                    "residual": found.residuals.tolist(),
                    "converged": found.converged.tolist(),
                }
            )
        )
    problem.network.check_again()
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class _Request:
    """Pairs of which matrix, at which end, and how well."""

    problem: Problem
    evaluation: Evaluation
    matrix: Matrix
    which: Which
    tolerance: float
    progress: bool

    def pairs(self, group: slice, k: int, title: str) -> EigenPairs:
        """The pairs of the diagonal block of these parameters.

        Searched in the problem's search precision; a product in its own certifies them, and the
        search goes on in that where they are not good enough.
        """
        problem, size = self.problem, group.stop - group.start
        fast, exact = problem.search_dtype, problem.theta.dtype
        refuse_beyond(
            self._bytes(size, k),
            f"{k} eigenpairs of {size} parameters",
            "Ask for fewer, or take dtype=torch.float32.",
        )
        with Shown(title, self.tolerance, self.progress) as shown:
            apply, observe = self._apply(group), shown.seen
            target = self.tolerance * (OF_TOLERANCE if fast != exact else 1)
            found = search(
                apply, random_start(size, 1, problem.theta).T.to(fast), k, self.which, target,
                MAX_PRODUCTS, capacity=self._capacity(size, k, fast), observe=observe,
            )  # fmt: skip
            found = self._checked(apply, found)
            if not found.interrupted and not (found.converged.all() and len(found.values) == k):
                more = search(
                    apply, found.rows, k, self.which, self.tolerance, MAX_PRODUCTS,
                    capacity=self._capacity(size, k, exact), observe=observe,
                )  # fmt: skip
                more = self._checked(apply, more)
                found = replace(more, products=more.products + found.products)
        return self._result(found)

    def _checked(self, apply: RowOperator, found: Found) -> Found:
        """The pairs by products in the problem's precision; if interrupted as they were found."""
        if found.interrupted:
            return found
        rows = found.rows.to(self.problem.theta.dtype, copy=True)
        # What rounding is in float32 is none in float64.
        scale = found.scale if found.rows.dtype == rows.dtype else 0.0
        try:
            exact = checked(apply, rows, self.which, self.tolerance, scale)
        except KeyboardInterrupt:
            return replace(found, interrupted=True)
        return replace(exact, products=exact.products + found.products)

    def _result(self, found: Found) -> EigenPairs:
        done = found.converged
        if found.interrupted:
            warnings.warn(
                f"The search was interrupted after {found.products} products: these are the best "
                "pairs so far, with nothing certified.",
                stacklevel=4,
            )
            done = torch.zeros_like(done)
        return EigenPairs(found.values, found.rows.T, found.residuals, done, found.products)

    def _apply(self, group: slice) -> RowOperator:
        size = len(self.problem.theta)

        def apply(rows: Tensor, out: Tensor) -> None:
            if group == slice(0, size):
                self.evaluation.product(self.matrix, rows.T, out.T)
                return
            whole = rows.new_zeros(len(rows), size)
            whole[:, group] = rows
            out.copy_(self.evaluation.product(self.matrix, whole.T).T[:, group])

        return apply

    def _capacity(self, size: int, k: int, dtype: torch.dtype) -> int:
        """Vectors that the search holds."""
        row = size * dtype.itemsize
        wanted = 2 * k + BEYOND
        if wanted * row > CHEAP_BYTES:  # then each vector less saves more than a product more costs
            wanted = 2 * k + FEW_BEYOND
        return max(k + LEAST_BEYOND, min(wanted, VECTOR_BYTES // row))

    def _bytes(self, size: int, k: int) -> int:
        """What the search holds: its basis, the pairs, and vectors around a product."""
        dtype = self.problem.theta.dtype
        return (self._capacity(size, k, dtype) + 2 * k + 6) * size * dtype.itemsize
