"""The curvature of single batches: along their own gradients, and the largest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.measurements.base import TOLERANCE, Measurement, Numbers, equal_batches
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.storage.columns import Columns, count, curvature, flag, relative

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class BatchSharpness(Measurement):
    """E_B[g_Bᵀ𝓗_B g_B / ‖g_B‖²], the mean over equal batches B in a random order of the examples.

    Implements: C5. g_B and 𝓗_B are gradient and Hessian of the loss of B. According to the
    source, SGD without momentum holds this mean at 2/η. `minibatch-sharpness`, the mean of
    λ₁(𝓗_B), is at least as large. A rest smaller than a batch is left out, as is a batch whose
    gradient is 0. Source: Andreyev & Beneventano, Edge of stochastic stability, arXiv:2412.20553.

    >>> import torch, eosflow
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.eye(2), torch.zeros(2, 1)
    >>> problem = eosflow.Problem(net, "half_squared_error", data)
    >>> record = eosflow.BatchSharpness(size=2).measure(problem.objective, problem.theta, 0, 0)
    >>> round(record["batch_sharpness"], 12)
    0.5
    """

    name: ClassVar[str] = "batch-sharpness"

    size: int = Field(
        32, description="examples per batch, as in SGD; all, if there are fewer", ge=1
    )

    def columns(self, outputs: int) -> Columns:
        return (
            curvature(
                "batch_sharpness",
                "–",
                "mean of g_Bᵀ𝓗_B g_B / ‖g_B‖² over equal batches B of the examples (C5)",
            ),
            curvature(
                "batch_sharpness_error",
                "–",
                "its standard error over the batches; 0 if there is one",
            ),
            count("batches", "how many batches", "batches"),
            count("batch_size", "examples per batch", "examples"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,), at the cost of one gradient and one product of all examples.

        With one batch the standard error is 0: it holds all examples, or all that can be used. The
        mean is 0, of 0 batches, where every batch's gradient is 0.
        """
        size = min(self.size, objective.examples)
        curvatures = []
        for part in equal_batches(objective, size, self.stream(iteration, seed)):
            batch = part.evaluate(theta)
            gradient, square = batch.gradient, batch.gradient.square().sum().item()
            if square:
                image = batch.hessian(gradient[:, None])[:, 0]
                curvatures.append((gradient * image).sum().item() / square)
        used = len(curvatures)
        mean = math.fsum(curvatures) / max(used, 1)
        squares = math.fsum((curvature - mean) ** 2 for curvature in curvatures)
        error = math.sqrt(squares / (used - 1) / used) if used > 1 else 0.0
        return {
            "batch_sharpness": mean,
            "batch_sharpness_error": error,
            "batches": used,
            "batch_size": size,
        }


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
            curvature(
                "sharpness", "λ₁(𝓗)", "largest algebraic eigenvalue of 𝓗 over all examples (E1)"
            ),
            relative("residual", "‖𝓗v − λ₁v‖ / λ₁ of that pair"),
            curvature(
                "minibatch_sharpness", "–", "mean of λ₁(𝓗_B) over equal batches B of the examples"
            ),
            relative("minibatch_residual", "largest relative residual of theirs"),
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
