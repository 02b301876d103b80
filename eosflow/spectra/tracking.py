"""The top eigenpairs of an operator that changes little from one search to the next."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from eosflow.spectra.eigenpairs import EigenPairs, Operator, random_start, top_eigenpairs


class Tracker:
    """Each search begins at the eigenvectors that the last one found.

    One pair more than asked for is carried along, not to the tolerance: a search that begins near
    the k largest would not see another that has overtaken them.
    """

    def __init__(self) -> None:
        self._last: EigenPairs | None = None

    def find(
        self, operator: Operator, like: Tensor, k: int, tolerance: float, max_products: int
    ) -> EigenPairs:
        """The k largest pairs of a symmetric operator on vectors like θ (P,), see `top_eigenpairs`.

        `converged` is whether the residuals of those k are at most the tolerance times |λ₁|.
        """
        columns = min(k + 1, len(like))
        start = random_start(len(like), columns, like)
        if self._last is not None and self._last.vectors.shape == start.shape:
            start = self._last.warm_start().to(like)
        found = top_eigenpairs(operator, start, tolerance, max_products, wanted=k)
        self._last = found
        return dataclasses.replace(
            found,
            values=found.values[:k],
            vectors=found.vectors[:, :k],
            images=found.images[:, :k],
            residuals=found.residuals[:k],
        )
