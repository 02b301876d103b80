"""Gradients of minibatches along the sharpest directions: their alignment, and scans of steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from eosflow.measurements.base import BATCH_SIZE, TOLERANCE, Measurement, Numbers, drawn_batch
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.storage.columns import Column, Columns, counted, relative
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.datasets.base import DatasetSettings
    from eosflow.networks.base import NetworkSettings
    from eosflow.objectives.base import Objective
    from eosflow.optimizers.base import Optimizer


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
            relative(
                "cosine_m",
                "mean over minibatches B of |g_B·v_m| / ‖g_B‖, m = 1…k",
                each=counted(self.k),
            ),
            relative("cosine", "mean of these over m"),
            relative("cosine_random", "√(2/(πP)), that of a random direction"),
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


WAYS = {"top": "(g_B·v₁) v₁", "random": "(g_B·u) u, u a random unit vector", "step": "g_B"}
LOSSES = {"batch": "the loss of B", "whole": "𝓛"}


class AlphaScan(Measurement):
    """Mean change of the loss from θ to θ − αη (g_B·u) u, over minibatches B, for several α.

    `top`: u is the top eigenvector v₁ of 𝓗; `random`: a random unit vector, drawn for each B;
    `step`: the whole step θ − αη g_B. Of the loss of B itself and of the whole loss. On a quadratic
    of curvature λ along v₁ and with all examples, `top` is ηg̃²(−α + α²ηλ/2) with g̃ = g·v₁: at
    λ = 2/η it is −.1875, −.25, 0, 2 and 12 times ηg̃² for α = .25, .5, 1, 2 and 4. `top_scale` is
    the mean of ηg̃², g̃ = g_B·v₁. Source: Jastrzębski et al. 2019, section 3.2.
    """

    name: ClassVar[str] = "alpha-scan"
    rows: ClassVar[str] = "X is α, the length of the step in those of the optimizer."

    alphas: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.25, 0.33, 0.5, 1.0, 2.0, 3.0, 4.0),
        description="α, the lengths of the steps relative to the optimizer's step",
    )
    learning_rate: float | None = Field(
        None, description="learning rate η; null: that of the run at the snapshot", gt=0
    )
    batch_size: int = Field(
        128, description="examples per minibatch; all, if there are fewer", ge=1
    )
    batches: int = Field(10, description="how many minibatches", ge=1)
    tolerance: float = TOLERANCE

    def why_not(self, network: NetworkSettings, data: DatasetSettings, optimizer: Optimizer) -> str:
        """It needs a learning rate."""
        if self.during(optimizer, 0).learning_rate is None:
            return (
                f"{self.name} needs a learning rate and {optimizer.name} has none; give "
                f"measurements.{self.name}.learning_rate."
            )
        return super().why_not(network, data, optimizer)

    def during(self, optimizer: Optimizer, iteration: int) -> AlphaScan:
        """With the optimizer's learning rate, unless one is set."""
        if self.learning_rate is not None:
            return self
        return self.model_copy(update={"learning_rate": optimizer.rate(iteration)})

    def columns(self, outputs: int) -> Columns:
        alphas = tuple(f"{alpha:g}" for alpha in self.alphas)
        return (
            *(
                Column(
                    f"{way}_{name}_X",
                    "–",
                    f"mean change of {loss} from θ to θ − αη {step}",
                    "loss",
                    each=alphas,
                )
                for way, step in WAYS.items()
                for name, loss in LOSSES.items()
            ),
            Column("learning_rate", "η", "learning rate of the scan", "flow time"),
            Column("top_scale", "–", "mean of η (g_B·v₁)²", "loss"),
            BATCH_SIZE,
            *TopEigenvalues(k=2).columns(outputs),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); minibatches and random directions are drawn anew each time.

        Raises: UserError without a learning rate.
        """
        import torch

        rate = self.learning_rate
        if rate is None:
            raise UserError(
                f"{self.name} was given no learning rate: set its learning_rate to a number."
            )
        stream = self.stream(iteration, seed)
        evaluation = objective.evaluate(theta)
        # Two at once: a search for one alone may end at the second.
        search = TopEigenvalues(k=2, tolerance=self.tolerance)
        pairs = search.search(evaluation, stream)
        top = pairs.vectors[:, 0].clone()
        loss = evaluation.loss
        size = min(self.batch_size, objective.examples)
        totals = dict.fromkeys((name for alpha in self.alphas for name in _names(alpha)), 0.0)
        scale = 0.0
        for _ in range(self.batches):
            batch = drawn_batch(objective, size, stream)
            here = batch.evaluate(theta)
            gradient, before = here.gradient.clone(), (here.loss, loss)
            noise = torch.randn(len(theta), generator=stream, dtype=torch.float64).to(theta)
            random = noise / noise.norm()
            scale += rate * (top @ gradient).item() ** 2
            ways = ((top @ gradient) * top, (random @ gradient) * random, gradient)
            for alpha in self.alphas:
                changes = (
                    part.evaluate(theta - alpha * rate * way).loss - start
                    for way in ways
                    for part, start in zip((batch, objective), before, strict=True)
                )
                for name, change in zip(_names(alpha), changes, strict=True):
                    totals[name] += change
        return {
            **{name: total / self.batches for name, total in totals.items()},
            "learning_rate": rate,
            "top_scale": scale / self.batches,
            "batch_size": size,
            **search.record(pairs),
        }


def _names(alpha: float) -> list[str]:
    return [f"{way}_{loss}_{alpha:g}" for way in WAYS for loss in LOSSES]
