"""The sharpness that single batches see, beside that of the whole loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from eosflow.measurements.base import Measurement
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class MinibatchSharpness(Measurement):
    """The mean of λ₁(𝓗_B) over equal batches B of the examples, and λ₁(𝓗) of all of them.

    𝓗 is the mean of the 𝓗_B where the batches hold all examples, which they do where their size
    divides N. λ₁ is convex, so the mean of λ₁(𝓗_B) is then at least λ₁(𝓗). Otherwise what is left
    of the last batch is left out, and the inequality is that of the examples used.
    """

    name: ClassVar[str] = "minibatch-sharpness"

    batch_size: int = Field(128, description="examples per batch; all, where there are fewer", ge=1)
    tolerance: float = Field(
        0.001,
        description="largest residual of an eigenpair, relative to the sharpness",
        gt=0,
        lt=1,
    )

    def columns(self, outputs: int) -> Columns:
        """The two sharpnesses, the largest of each one's relative residuals, and the batches."""
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
            Column("batches", "–", "how many batches", "batches", "int64"),
            Column("batch_size", "–", "examples per batch", "examples", "int64"),
            Column("products", "–", "products of 𝓗 or 𝓗_B with a block", "products", "int64"),
            Column(
                "converged", "–", "whether all residuals met the tolerance", "true or false", "bool"
            ),
        )

    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        """The numbers at θ (P,); the batches are parts of a new order each time."""
        import torch

        from eosflow.spectra.randomness import generator

        stream = generator(seed, f"{self.name} {iteration}")
        # Two at once: a search for one alone may end at the second.
        search = TopEigenvalues(k=2, tolerance=self.tolerance)
        size = min(self.batch_size, objective.examples)
        count = objective.examples // size
        order = torch.randperm(objective.examples, generator=stream)[: count * size]
        parts = [objective.batch(rows.to(theta.device)) for rows in order.view(count, size)]
        found = []
        for part in (objective, *parts):
            evaluation = part.evaluate(theta)
            found.append(search.search(evaluation, stream))
        whole, *batches = found
        values = [pairs.values[0].item() for pairs in batches]
        return {
            "sharpness": whole.values[0].item(),
            "residual": whole.relative_residual,
            "minibatch_sharpness": sum(values) / count,
            "minibatch_residual": max(pairs.relative_residual for pairs in batches),
            "batches": count,
            "batch_size": size,
            "products": sum(pairs.applications for pairs in found),
            "converged": all(pairs.converged for pairs in found),
        }
