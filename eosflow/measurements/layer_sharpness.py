"""The largest eigenvalue of each layer's own diagonal block of the Hessian or one of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns, count, flag

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective
    from eosflow.spectra.eigenpairs import EigenPairs, Operator

MAX_PRODUCTS = 300  # block products for one layer


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

    matrix: Literal["hessian", "gauss_newton", "residual"] = Field(
        "hessian", description="of which matrix"
    )
    tolerance: float = Field(
        0.001, description="largest residual of a layer, relative to its λ₁", gt=0, lt=1
    )

    def columns(self, outputs: int) -> Columns:
        """λ₁ and its residual for each layer, the products taken, and whether all converged."""
        return (
            Column(
                "layer_sharpness_l",
                "λ₁(A_ll)",
                "largest algebraic eigenvalue of the diagonal block of θ_l, A = 𝓗, G or R",
                "loss / parameter²",
            ),
            Column("layer_residual_l", "–", "‖A_ll v − λ v‖ / |λ| of that pair", "–"),
            count("products", "products with a vector", "products"),
            flag("converged", "whether all residuals met the tolerance"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,), with one random start for each layer."""
        from eosflow.spectra.eigenpairs import random_start, top_eigenpairs
        from eosflow.spectra.tracking import Tracker

        evaluation = objective.evaluate(theta)
        found: list[EigenPairs] = []
        for number, group in enumerate(objective.network.groups):
            like = theta[group]
            block = self._block(evaluation.product, theta, group)
            limits = self.tolerance, MAX_PRODUCTS
            if evaluation.trackers is None:
                start = random_start(len(like), min(2, len(like)), like, seed)
                pairs = top_eigenpairs(block, start, *limits, wanted=1)
            else:
                key = f"{self.matrix} of layer {number}", 1
                tracker = evaluation.trackers.setdefault(key, Tracker())
                pairs = tracker.find(block, like, 1, *limits)
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
