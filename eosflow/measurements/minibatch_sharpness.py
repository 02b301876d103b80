"""The sharpness of single batches, beside that of the whole loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.measurements.base import TOLERANCE, Measurement, Numbers, equal_batches
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.storage.columns import Column, Columns, count, flag

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class MinibatchSharpness(Measurement):
    """The mean of λ₁(𝓗_B) over equal batches B of the examples, and λ₁(𝓗) of all of them.

    If the batch size divides N, 𝓗 is the mean of the 𝓗_B; λ₁ is convex, so the mean of λ₁(𝓗_B) is
    at least λ₁(𝓗). Otherwise the rest smaller than a batch is left out, and the inequality holds
    for the examples used.
    """

    name: ClassVar[str] = "minibatch-sharpness"

    batch_size: int = Field(128, description="examples per batch; all, if there are fewer", ge=1)
    tolerance: float = TOLERANCE

    def columns(self, outputs: int) -> Columns:
        return (
            Column(
                "sharpness",
                "λ₁(𝓗)",
                "largest algebraic eigenvalue of 𝓗 over all examples (E1)",
                "loss / parameter²",
            ),
            Column("residual", "–", "‖𝓗v − λ₁v‖ / λ₁ of that pair", "–"),
            Column(
                "minibatch_sharpness",
                "–",
                "mean of λ₁(𝓗_B) over equal batches B of the examples",
                "loss / parameter²",
            ),
            Column("minibatch_residual", "–", "largest relative residual of theirs", "–"),
            count("batches", "how many batches", "batches"),
            count("batch_size", "examples per batch", "examples"),
            count("products", "products of 𝓗 or 𝓗_B with a block", "products"),
            flag("converged", "whether all residuals met the tolerance"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); the batches are parts of a new order each time."""
        stream = self.stream(iteration, seed)
        # Two at once: a search for one alone may end at the second.
        search = TopEigenvalues(k=2, tolerance=self.tolerance)
        size = min(self.batch_size, objective.examples)
        parts = equal_batches(objective, size, stream)
        whole, *batches = searches = [
            search.search(part.evaluate(theta), stream) for part in (objective, *parts)
        ]
        values = [pairs.values[0].item() for pairs in batches]
        return {
            "sharpness": whole.values[0].item(),
            "residual": whole.relative_residual,
            "minibatch_sharpness": sum(values) / len(values),
            "minibatch_residual": max(pairs.relative_residual for pairs in batches),
            "batches": len(batches),
            "batch_size": size,
            "products": sum(pairs.applications for pairs in searches),
            "converged": all(pairs.converged for pairs in searches),
        }
