"""The alignment of gradients, of the loss and of minibatches, with the sharpest directions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.measurements.base import BATCH_SIZE, TOLERANCE, Measurement, Numbers, drawn_batch
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.storage.columns import Column, Columns, counted

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class GradientAlignment(Measurement):
    """‖Vᵀg‖²/‖g‖² of g = ∇𝓛 in the top k eigenvectors V of 𝓗, and cosines of minibatch gradients.

    `cosine_m` is the mean over the minibatches B of |g_B·v_m|/‖g_B‖. A random direction has the
    cosine √(2/(πP)), up to a share of 1/(4P). If a gradient is 0, its share and cosine count as
    0. Source: Jastrzębski et al. 2019, figure 5; Song et al. 2025.
    """

    name: ClassVar[str] = "gradient-alignment"

    k: int = Field(5, description="how many directions", ge=1)
    batch_size: int = Field(
        128, description="examples per minibatch; all, if there are fewer", ge=1
    )
    batches: int = Field(20, description="how many minibatches", ge=1)
    tolerance: float = TOLERANCE

    def columns(self, outputs: int) -> Columns:
        return (
            Column(
                "gradient_share", "–", "‖Vᵀ∇𝓛‖² / ‖∇𝓛‖², V the top k eigenvectors of 𝓗", "share"
            ),
            Column(
                "cosine_m",
                "–",
                "mean over minibatches B of |g_B·v_m| / ‖g_B‖, m = 1…k",
                "–",
                each=counted(self.k),
            ),
            Column("cosine", "–", "mean of these over m", "–"),
            Column("cosine_random", "–", "√(2/(πP)), that of a random direction", "–"),
            BATCH_SIZE,
            *TopEigenvalues(k=self.k).columns(outputs),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); the minibatches are drawn anew for each (seed, iteration).

        A minibatch holds no example twice. A network with fewer than k parameters gives as many
        numbers as it has.
        """
        import torch

        stream = self.stream(iteration, seed)
        evaluation = objective.evaluate(theta)
        search = TopEigenvalues(k=self.k, tolerance=self.tolerance)
        pairs = search.search(evaluation, stream)
        share = cosines(pairs.vectors, evaluation.gradient).square().sum().item()
        size = min(self.batch_size, objective.examples)
        total = torch.zeros_like(pairs.values)
        for _ in range(self.batches):
            batch = drawn_batch(objective, size, stream).evaluate(theta)
            total += cosines(pairs.vectors, batch.gradient).abs()
        mean = (total / self.batches).tolist()
        return {
            "gradient_share": share,
            **{f"cosine_{m}": value for m, value in enumerate(mean, 1)},
            "cosine": sum(mean) / len(mean),
            "cosine_random": math.sqrt(2 / (math.pi * len(theta))),
            "batch_size": size,
            **search.record(pairs),
        }


def cosines(vectors: Tensor, gradient: Tensor) -> Tensor:
    """v_m·g/‖g‖ (k,) for orthonormal columns v_m of V (P, k); 0 if g = 0."""
    import torch

    norm = gradient.norm()
    values: Tensor = torch.where(norm > 0, vectors.T @ gradient / norm, 0.0)
    return values
