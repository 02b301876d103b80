"""The largest eigenvalues of the Hessian or one of its parts, each with its residual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns, count, counted, flag

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.spectra.eigenpairs import EigenPairs

MAX_PRODUCTS = 300  # block products with k vectors


class TopEigenvalues(Measurement):
    """The k largest algebraic eigenvalues of 𝓗, G or R at a snapshot."""

    name: ClassVar[str] = "top-eigenvalues"
    version: ClassVar[int] = 2

    k: int = Field(5, description="how many eigenvalues", ge=1)
    matrix: Literal["hessian", "gauss_newton", "residual"] = Field(
        "hessian", description="of which matrix"
    )
    tolerance: float = Field(
        0.001, description="largest residual, relative to the first eigenvalue", gt=0, lt=1
    )

    def columns(self, outputs: int) -> Columns:
        pairs = counted(self.k)
        return (
            Column(
                "eigenvalue_m",
                "λ_m",
                "m-th largest algebraic eigenvalue of 𝓗, G or R, m = 1…k (E1 to E3)",
                "loss / parameter²",
                each=pairs,
            ),
            Column("residual_m", "–", "‖Av − λ_m v‖ / |λ_1| of that pair", "–", each=pairs),
            count("products", "products with the block of k vectors", "products"),
            flag("converged", "whether all residuals met the tolerance"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,), from a separate start block for each (seed, iteration).

        A network with fewer than k parameters gives as many as it has.
        """
        from eosflow.objectives.input_span import input_span

        if span := input_span(objective):
            pairs = self._searched(span.objective, span.project(theta), iteration, seed)
            # Beyond the span the matrix is 0: an eigenvalue below that is not among the k largest.
            if len(pairs.values) == self.k and pairs.values[-1] >= 0:
                return self.record(pairs)
        return self.record(self._searched(objective, theta, iteration, seed))

    def _searched(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> EigenPairs:
        evaluation = objective.evaluate(theta)
        return self.search(evaluation, self.stream(iteration, seed))

    def search(self, evaluation: Evaluation, stream: Generator) -> EigenPairs:
        """The k top eigenpairs, from a start block (P, k) drawn from the stream.

        In a monitor a search begins from the pairs found last.
        """
        import torch

        from eosflow.spectra.eigenpairs import top_eigenpairs
        from eosflow.spectra.tracking import Tracker

        theta = evaluation.theta
        count = min(self.k, len(theta))
        limits = self.tolerance, MAX_PRODUCTS

        def operator(block: Tensor, out: Tensor) -> Tensor:
            return evaluation.product(self.matrix, block, out)

        if evaluation.trackers is not None:
            tracker = evaluation.trackers.setdefault((self.matrix, count), Tracker())
            return tracker.find(operator, theta, count, *limits)
        rows = torch.randn(count, len(theta), generator=stream, dtype=torch.float64).to(theta)
        return top_eigenpairs(operator, rows.T, *limits)

    def record(self, pairs: EigenPairs) -> dict[str, Any]:
        """The numbers of `columns` from the pairs found."""
        import torch

        values = pairs.values.tolist()
        scale = max(abs(values[0]), torch.finfo(torch.float64).tiny)
        residuals = (pairs.residuals / scale).tolist()
        return {
            **{f"eigenvalue_{m}": value for m, value in enumerate(values, 1)},
            **{f"residual_{m}": value for m, value in enumerate(residuals, 1)},
            "products": pairs.applications,
            "converged": pairs.converged,
        }
