"""Gradient descent with noise on the weights, which penalises curvature along q₁.

Random numbers come from the seed and the number of the step, not from a stream that moves on: a
run that is taken up again draws the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import State
from eosflow.optimizers.subspace import SubspaceOptimizer

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective


class SharpestNoise(SubspaceOptimizer):
    """SGD whose gradient is that at θ + s Σ_{m≤K} ξ_m v_m, ξ standard normal, fresh in every step.

    v_m are the top K eigenvectors of 𝓗; K = 1 is noise along q₁ only. Averaged over ξ this is
    gradient descent on 𝓛 + ½s² Σ_{m≤K} λ_m(𝓗), to second order in s. The step starts from θ. Of
    the two gradients computed, at θ and at the noisy weights, it uses the second.
    Source: the slides of Roberts, in words; Camuto et al., Explicit regularisation in Gaussian
    noise injections, 2020, for what noise adds to the loss.
    """

    name: ClassVar[str] = "sharpest-noise"

    k: int = Field(1, description="K, the number of sharpest directions with noise", ge=1)
    noise: float = Field(description="standard deviation s of the noise", ge=0, examples=[0.05])

    def products_per_step(self, outputs: int) -> float:
        """Those of the searches, and a second gradient, which costs about half a product."""
        return super().products_per_step(outputs) + 0.5

    def vectors_held(self, outputs: int) -> float:
        """Those of the search, the weights with noise and the gradient there."""
        return super().vectors_held(outputs) + 3.0

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """The state of the search, and the `seed` that the noise is drawn with."""
        return {**super().init(objective, theta, seed), "seed": seed}

    def _gradient_at(self, evaluation: Evaluation, state: State) -> Tensor:
        """That beside the point, at the noise of the step."""
        if not self.noise:
            return evaluation.gradient
        import torch

        from eosflow.spectra.randomness import generator

        directions = cast("Tensor", state["basis"])[: self.k]
        stream = generator(cast(int, state["seed"]), f"noise {state['steps']}")
        normal = torch.randn(len(directions), generator=stream, dtype=torch.float64)
        shift = directions.T @ (self.noise * normal).to(directions)
        beside = evaluation.objective.evaluate(evaluation.theta + shift)
        return beside.gradient.clone()

    def _title(self) -> str:
        return f"SGD with noise of deviation {self.noise:g} on its weights"

    def _factors(self) -> tuple[float, float]:
        return 1.0, 1.0
