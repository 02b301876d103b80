"""SGD whose step is changed only in the subspace of the sharpest directions.

V (P, K) are the top K eigenvectors of 𝓗, of the whole loss or of a sample of the examples, never of
a batch. They are found at the first step and every so many steps after it.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field

from eosflow.optimizers.base import State, Step
from eosflow.optimizers.gradient import Buffers, GradientOptimizer
from eosflow.storage.columns import Columns, count, counted, curvature, flag, relative

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective


class SubspaceOptimizer(GradientOptimizer):
    """v = μm − η_t g, m ← v, θ ← θ + a VVᵀv + b (v − VVᵀv), with (a, b) from `_factors`.

    g is ∇𝓛 of what the step sees, clipped and with λθ. The search takes K+1 pairs, so that a
    direction that rises into the top K is seen while it still is the next one. It starts from the
    basis found last. `max_block_products` may end it early; `converged` then says so. How far V is
    from the eigenvectors is about residual · λ_1/(λ_K − λ_{K+1}).
    """

    rows: ClassVar[str] = "Eigenvalues and residual are those of the last search."

    momentum: float = Field(0.0, description="momentum μ; 0: none", ge=0, lt=1)
    k: int = Field(5, description="K, the number of sharpest directions", ge=1)
    every: int = Field(
        0, description="steps between two searches for the directions; 0: an epoch", ge=0
    )
    examples: int = Field(
        2560,
        description="number of examples of the 𝓗 whose directions are used; all, if there are "
        "fewer",
        ge=1,
    )
    sample: Literal["first", "fresh", "fresh-augmented"] = Field(
        "first",
        description="which examples: first, fresh (others at each search), or fresh-augmented "
        "(others, cropped and flipped at random)",
    )
    which: Literal["largest", "magnitude"] = Field(
        "largest",
        description="the eigenvalues of these directions: largest, or magnitude (largest |λ|)",
    )
    eigen_tolerance: float = Field(
        0.001, description="largest residual of an eigenpair, relative to the sharpness", gt=0, lt=1
    )
    max_block_products: int = Field(
        100, description="largest number of block products per search", ge=1
    )

    def columns(self, parameters: int, outputs: int) -> Columns:
        pairs = counted(min(self.k + 1, parameters))
        return (
            *super().columns(parameters, outputs),
            curvature(
                "eigenvalue_m",
                "λ_m",
                "eigenvalues of 𝓗 over the sample of examples, m = 1…K+1 (E1)",
                each=pairs,
            ),
            relative("residual", "largest ‖𝓗v − λv‖ / λ₁ of those pairs"),
            flag("converged", "whether that residual met the tolerance"),
            count(
                "power_iterations",
                "products of 𝓗 with the block of K+1 vectors of a search in this step; 0 without "
                "one",
                "products",
            ),
        )

    def products_per_step(self, outputs: int) -> float:
        """Block products of K+1 vectors per search, and as many again for the other end."""
        each = 6.0 if self.sample == "first" else 15.0  # up to 5 and 14 were seen after the first
        ends = 2 if self.which == "magnitude" else 1
        return ends * each * (self.k + 1) / max(1, self.every)

    def vectors_held(self, outputs: int) -> float:
        """The workspace of a search, the bases before and after it, the step's, and the noise's."""
        pairs = self.k + 1
        return 2.0 * max(3 * pairs, pairs + 8) + 5.0 * pairs + 9 + 5 * len(self.wraps)

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """A random `basis` (K+1, P) to search from; `wait`, the steps until the next search."""
        from eosflow.spectra.eigenpairs import random_start

        pairs = min(self.k + 1, len(theta))
        state: dict[str, Any] = {
            **super().init(objective, theta, seed),
            "wait": 0,
            "basis": random_start(len(theta), pairs, theta, seed).T,
            "eigenvalues": theta.new_zeros(pairs),
            "residual": 0.0,
            "converged": False,
        }
        if self.sample == "fresh-augmented":
            from eosflow.optimizers.augmentation import check_images

            check_images(objective, f"sample: {self.sample} of {self.name}")
        if self.sample != "first":
            state |= {"searches": 0, "sample_seed": seed}
        if self.which == "magnitude":
            state["lowest"] = random_start(len(theta), pairs, theta, seed + 1).T
        return state

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step, after a search where one is due; None if it is not finite."""
        import torch

        products, now, objective = 0, dict(state), evaluation.objective
        if now["wait"] == 0:
            whole = objective.whole or objective
            try:
                searched, products = self._search(self._sampled(evaluation, state), state)
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # 𝓗 is not finite
                return None
            # The first batch of an epoch is a full one.
            wait = self.every or math.ceil(whole.examples / objective.examples)
            now |= {**searched, "wait": wait}
            if self.sample != "first":
                now["searches"] = cast(int, now["searches"]) + 1
        now["wait"] = cast(int, now["wait"]) - 1
        step = super().step(evaluation, now, max_flow_time)
        if step is None:
            return None
        values = cast("Tensor", now["eigenvalues"]).tolist()
        facts = {
            **step.facts,
            **{f"eigenvalue_{m}": value for m, value in enumerate(values, 1)},
            "residual": cast(float, now["residual"]),
            "converged": cast(bool, now["converged"]),
            "power_iterations": products,
        }
        return dataclasses.replace(step, facts=facts)

    def _sampled(self, evaluation: Evaluation, state: State) -> Evaluation:
        """The loss whose 𝓗 has the directions, at the θ of the step."""
        import torch

        from eosflow.optimizers.augmentation import augmented
        from eosflow.spectra.randomness import generator

        objective = evaluation.objective
        whole = objective.whole or objective
        count = min(self.examples, whole.examples)
        if self.sample != "first":
            seed, search = cast(int, state["sample_seed"]), cast(int, state["searches"])
            stream = generator(seed, f"examples of search {search}")
            rows = torch.randperm(whole.examples, generator=stream)[:count]
            sample = whole.batch(rows.to(evaluation.theta.device))
            if self.sample == "fresh-augmented":
                sample = augmented(sample, rows, whole.examples, seed, search)
        elif count < whole.examples:
            sample = whole.batch(torch.arange(count, device=evaluation.theta.device))
        else:
            sample = whole
        return evaluation if sample is objective else sample.evaluate(evaluation.theta)

    def _search(self, seen: Evaluation, state: State) -> tuple[State, int]:
        """What a search leaves to the steps after it, and its block products."""
        import torch

        from eosflow.spectra.eigenpairs import top_eigenpairs

        limits = self.eigen_tolerance, self.max_block_products
        top = top_eigenpairs(seen.hessian, cast("Tensor", state["basis"]).T, *limits)
        largest: State = {
            "basis": top.vectors.T.clone(),
            "eigenvalues": top.values,
            "residual": top.relative_residual,
            "converged": top.converged,
        }
        if self.which == "largest":
            return largest, top.applications

        def negated(block: Tensor, out: Tensor) -> Tensor:
            return seen.hessian(block, out).neg_()

        low = top_eigenpairs(negated, cast("Tensor", state["lowest"]).T, *limits)
        # Those of one sign come from one search, so that none is there twice.
        values = torch.cat([top.values, -low.values])
        ours = torch.cat([top.values > 0, low.values > 0])
        order = torch.where(ours, values.abs(), -1).argsort(descending=True)[: len(top.values)]
        vectors = torch.cat([top.vectors, low.vectors], dim=1)[:, order]
        return {
            "basis": vectors.T.contiguous(),
            "eigenvalues": values[order],
            "lowest": low.vectors.T.clone(),
            "residual": max(top.relative_residual, low.relative_residual),
            "converged": top.converged and low.converged,
        }, top.applications + low.applications

    def _update(
        self, theta: Tensor, gradient: Tensor, rate: float, count: int, buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        velocity, new = gradient.mul(-rate), {}
        if self.momentum:
            velocity.add_(buffers["momentum"], alpha=self.momentum)
            new = {"momentum": velocity}
        basis = buffers["basis"][: self.k]
        inside = basis.T @ (basis @ velocity)
        within, without = self._factors()
        return theta.add(velocity, alpha=without).add_(inside, alpha=within - without), new

    def _buffers(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def _words(self) -> list[str]:
        words = [f"momentum {self.momentum:g}"] if self.momentum else []
        often = {0: "once per epoch", 1: "in every step"}.get(
            self.every, f"every {self.every} steps"
        )
        directions = f"the {self.k} sharpest directions found {often}"
        if self.which == "magnitude":
            directions = f"the {self.k} directions of largest |λ| found {often}"
        more = {"fresh": " on fresh examples", "fresh-augmented": " on fresh, augmented examples"}
        return [self._title(), *words, directions + more.get(self.sample, "")]

    @abstractmethod
    def _title(self) -> str:
        """The name in words."""

    @abstractmethod
    def _factors(self) -> tuple[float, float]:
        """The factors a on what lies in the subspace and b on the rest."""


class NudgedSGD(SubspaceOptimizer):
    """v = μm − ηg, m ← v, θ ← θ + v − (1 − γ)VVᵀv, V the top K eigenvectors of 𝓗.

    γ = 1 is plain SGD, γ = 0 is `bulk-sgd`. On a quadratic without momentum the directions of V
    are stable iff ηγλ < 2, the others iff ηλ < 2. η is inside m, so with momentum a change of the
    learning rate affects only later gradients, unlike in `gradient-descent`. Source:
    Jastrzębski et al. 2019, section 4.
    """

    name: ClassVar[str] = "nudged-sgd"

    gamma: float = Field(
        0.1, description="γ, the factor on the step along the sharpest directions", ge=0
    )

    def _title(self) -> str:
        return f"Nudged-SGD, γ {self.gamma:g}"

    def _factors(self) -> tuple[float, float]:
        return self.gamma, 1.0


class DominantSGD(SubspaceOptimizer):
    """θ ← θ + VVᵀv, v = μm − ηg, m ← v: only the part of the step in the sharpest directions.

    Source: Song et al. 2025, who compute V at every step (every=1).
    """

    name: ClassVar[str] = "dominant-sgd"

    def _title(self) -> str:
        return "Dominant-SGD"

    def _factors(self) -> tuple[float, float]:
        return 1.0, 0.0


class BulkSGD(SubspaceOptimizer):
    """θ ← θ + v − VVᵀv, v = μm − ηg, m ← v: the step without its part in the sharpest directions.

    Source: Song et al. 2025, who compute V at every step (every=1).
    """

    name: ClassVar[str] = "bulk-sgd"

    def _title(self) -> str:
        return "Bulk-SGD"

    def _factors(self) -> tuple[float, float]:
        return 0.0, 1.0
