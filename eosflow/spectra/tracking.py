"""The top eigenpairs of an operator that changes little from one search to the next."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import (
    EigenPairs,
    Operator,
    Workspace,
    random_start,
    top_eigenpairs,
)

# Memory that is kept from one search to the next, at most: fresh pages are slow on many machines.
KEPT_BYTES = 2**28
# Looks from one at the guard to the next, at most.
LONGEST_REST = 10
# The guard may move so many times as much as it did before.
CAUTION = 2.0


class Tracker:
    """Each search begins at the eigenvectors that the last one found.

    One pair more than asked for, the guard, is carried along, not to the tolerance: a search that
    begins near the k largest would not see another that has overtaken them. It costs a product, and
    rests while it is further from them than it can have moved and one product is enough for them:
    where they turn, so may others.
    """

    def __init__(self) -> None:
        self._start: Tensor | None = None  # (P, k + 1), the guard last
        self._workspace: Workspace | None = None
        self._gap = float("inf")  # from the k-th to the guard, relative to λ₁, when last seen
        self._unseen = 0  # changes of the operator since
        self._rest = 0  # changes until it is due

    def changed(self) -> None:
        """Say that the next search is of another operator than the last."""
        self._unseen += 1
        self._rest = max(0, self._rest - 1)

    def find(
        self, operator: Operator, like: Tensor, k: int, tolerance: float, max_products: int
    ) -> EigenPairs:
        """The k largest pairs of a symmetric operator on vectors like θ (P,), see `top_eigenpairs`.

        `converged` is whether the residuals of those k are at most the tolerance times |λ₁|. The
        vectors are good until the next search.
        """
        columns = min(k + 1, len(like))
        if self._start is None or self._start.shape != (len(like), columns):
            self._start = random_start(len(like), columns, like)
            self._gap, self._unseen, self._rest = float("inf"), 0, 0
            self._workspace = None
        workspace = self._workspace or Workspace(len(like), columns, like)
        if workspace.bytes <= KEPT_BYTES:
            self._workspace = workspace

        def search(used: int) -> EigenPairs:
            assert self._start is not None
            start = self._start[:, :used].to(like)
            found = top_eigenpairs(operator, start, tolerance, max_products, workspace, wanted=k)
            found.warm_start(out=self._start[:, :used])
            return found

        guarded = not self._rest
        found = search(columns if guarded else k)
        still = found.applications == 1
        if not (guarded or still):
            guarded, again = True, search(columns)
            found = dataclasses.replace(
                again,
                applications=found.applications + again.applications,
                products=found.products + again.products,
            )
        if guarded and columns > k:
            self._see(found.values, k, still)
        return dataclasses.replace(
            found,
            values=found.values[:k],
            vectors=found.vectors[:, :k],
            images=found.images[:, :k],
            residuals=found.residuals[:k],
        )

    def _see(self, values: Tensor, k: int, still: bool) -> None:
        """Settle when the guard is due again: at once, if the k largest are not `still`."""
        scale = max(abs(values[0].item()), torch.finfo(values.dtype).tiny)
        gap = (values[k - 1] - values[k]).item() / scale
        self._rest = 0
        if self._unseen and still:
            moved = CAUTION * abs(gap - self._gap) / self._unseen
            self._rest = int(min(LONGEST_REST, gap / moved)) if moved else LONGEST_REST
        self._gap, self._unseen = gap, 0
