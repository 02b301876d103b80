"""The curvature of batches along their own gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.measurements.base import Measurement, Numbers, equal_batches
from eosflow.storage.columns import Column, Columns, count

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
            Column(
                "batch_sharpness",
                "–",
                "mean of g_Bᵀ𝓗_B g_B / ‖g_B‖² over equal batches B of the examples (C5)",
                "loss / parameter²",
            ),
            Column(
                "batch_sharpness_error",
                "–",
                "its standard error over the batches; 0 if there is one",
                "loss / parameter²",
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
