"""The largest eigenvalues of the Hessian or a part of it, whole or by layer, with residuals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from eosflow.measurements.base import MATRIX, Matrix, Measurement, Numbers
from eosflow.storage.columns import Columns, count, counted, curvature, flag, relative

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.spectra.eigenpairs import EigenPairs, Operator

MAX_PRODUCTS = 300  # block products of a search


class TopEigenvalues(Measurement):
    """The k largest algebraic eigenvalues of 𝓗, G or R at a snapshot."""

    name: ClassVar[str] = "top-eigenvalues"
    version: ClassVar[int] = 2

    k: int = Field(5, description="how many eigenvalues", ge=1)
    matrix: Matrix = MATRIX
    tolerance: float = Field(
        0.001, description="largest residual, relative to the first eigenvalue", gt=0, lt=1
    )

    def columns(self, outputs: int) -> Columns:
        pairs = counted(self.k)
        return (
            curvature(
                "eigenvalue_m",
                "λ_m",
                "m-th largest algebraic eigenvalue of 𝓗, G or R, m = 1…k (E1 to E3)",
                each=pairs,
            ),
            relative("residual_m", "‖Av − λ_m v‖ / |λ_1| of that pair", each=pairs),
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

        theta = evaluation.theta
        count = min(self.k, len(theta))

        def operator(block: Tensor, out: Tensor) -> Tensor:
            return evaluation.product(self.matrix, block, out)

        def start() -> Tensor:
            size = count, len(theta)
            return torch.randn(size, generator=stream, dtype=torch.float64).to(theta).T

        return tracked(evaluation, self.matrix, operator, theta, count, self.tolerance, start)

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


class LayerSharpness(Measurement):
    """λ₁ of each layer's diagonal block of 𝓗, G or R: the curvature if only this layer changes.

    The largest algebraic eigenvalue of the block of θ_l, the parameters of the l-th submodule that
    has any. Each is at most λ₁ of the whole.

    >>> import torch, eosflow
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.diag(torch.tensor([2.0, 1.0])), torch.zeros(2, 1)
    >>> problem = eosflow.Problem(net, "half_squared_error", data)
    >>> record = eosflow.LayerSharpness().measure(problem.objective, problem.theta, 0, 0)
    >>> round(record["layer_sharpness_1"], 6)
    2.0
    """

    name: ClassVar[str] = "layer-sharpness"

    matrix: Matrix = MATRIX
    tolerance: float = Field(
        0.001, description="largest residual of a layer, relative to its λ₁", gt=0, lt=1
    )

    def columns(self, outputs: int) -> Columns:
        """λ₁ and its residual for each layer, the products taken, and whether all converged."""
        return (
            curvature(
                "layer_sharpness_l",
                "λ₁(A_ll)",
                "largest algebraic eigenvalue of the diagonal block of θ_l, A = 𝓗, G or R",
            ),
            relative("layer_residual_l", "‖A_ll v − λ v‖ / |λ| of that pair"),
            count("products", "products with a vector", "products"),
            flag("converged", "whether all residuals met the tolerance"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,), with one random start for each layer."""
        from eosflow.spectra.eigenpairs import random_start

        evaluation = objective.evaluate(theta)
        found: list[EigenPairs] = []
        for number, group in enumerate(objective.network.groups):
            like = theta[group]
            block = self._block(evaluation.product, theta, group)
            start = functools.partial(random_start, len(like), min(2, len(like)), like, seed)
            key = f"{self.matrix} of layer {number}"
            pairs = tracked(evaluation, key, block, like, 1, self.tolerance, start)
            found.append(pairs)
        record: dict[str, Any] = {}
        for number, pairs in enumerate(found, 1):
            value = pairs.values[0].item()
            record[f"layer_sharpness_{number}"] = value
            scale = abs(value) or 1.0
            record[f"layer_residual_{number}"] = pairs.residuals[0].item() / scale
        record["products"] = sum(pairs.products for pairs in found)
        record["converged"] = all(pairs.converged for pairs in found)
        return record

    def _block(self, product: Any, theta: Tensor, group: slice) -> Operator:
        """V_l ↦ A_ll V_l."""

        def apply(block: Tensor, out: Tensor) -> Tensor:
            rows = theta.new_zeros(block.shape[1], len(theta), dtype=block.dtype)
            rows[:, group] = block.T
            out.copy_(product(self.matrix, rows.T)[group])
            return out

        return apply


def tracked(
    evaluation: Evaluation,
    key: str,
    operator: Operator,
    like: Tensor,
    count: int,
    tolerance: float,
    start: Callable[[], Tensor],
) -> EigenPairs:
    """The top pairs on vectors like (P,) from a start block, in a monitor from those found last."""
    from eosflow.spectra.eigenpairs import top_eigenpairs
    from eosflow.spectra.tracking import Tracker

    if evaluation.trackers is None:
        return top_eigenpairs(operator, start(), tolerance, MAX_PRODUCTS, wanted=count)
    tracker = evaluation.trackers.setdefault((key, count), Tracker())
    return tracker.find(operator, like, count, tolerance, MAX_PRODUCTS)
