"""Optimizers that look for flat minima: by new names around others, by averages and by noise.

`wrap` puts the rules of SAM, TRACER and the trace around any gradient optimizer, see
`eosflow.optimizers.wraps`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import State, Step
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.preconditioned import Adam
from eosflow.optimizers.subspace import SubspaceOptimizer
from eosflow.optimizers.wraps import SharpnessAware, TraceOfHessian, Tracer, Wrap

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective


class _Wrapped(GradientOptimizer):
    """An optimizer around whose gradient one more rule stands, with the settings of that rule."""

    own: ClassVar[type[Wrap]]

    @property
    def wraps(self) -> tuple[Wrap, ...]:
        settings = {name: getattr(self, name) for name in self.own.model_fields}
        return (self.own(**settings), *self.wrap)


class _SharpnessAware(_Wrapped):
    own: ClassVar[type[Wrap]] = SharpnessAware

    rho: float = Field(description="radius ρ of the perturbation", ge=0, examples=[0.05])


class SAM(_SharpnessAware, GradientDescent):
    """Gradient descent whose gradient is that at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ).

    The step starts from θ, with momentum and weight decay as in gradient-descent; clipping applies
    to the gradient at θ + ε. On a quadratic it is g + ρ 𝓗g/‖g‖. Two gradients per step.
    Source: Foret et al. 2021; github.com/davda54/sam.
    """

    name: ClassVar[str] = "sam"
    version: ClassVar[int] = 1


class AdamSAM(_SharpnessAware, Adam):
    """Adam whose gradient is that at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ).

    Source: Foret et al. 2021.
    """

    name: ClassVar[str] = "adam-sam"


class _Tracer(_Wrapped):
    own: ClassVar[type[Wrap]] = Tracer
    version: ClassVar[int] = 2

    rho: float = Field(description="weight ρ of the penalty", ge=0, examples=[0.05])
    fisher_rate: float = Field(0.1, description="β, the rate of the running mean G", gt=0, le=1)
    damping: float = Field(0.001, description="δ, added to G", gt=0)


class SGDTracer(_Tracer, GradientDescent):
    """Gradient descent on 𝓛 + ρ Tr(G⁻¹F), G the running diagonal Fisher matrix, frozen."""

    name: ClassVar[str] = "sgd-tracer"


class AdamTracer(_Tracer, Adam):
    """Adam on 𝓛 + ρ Tr(G⁻¹F), G the running diagonal Fisher matrix, frozen."""

    name: ClassVar[str] = "adam-tracer"


class TracePenalty(_Wrapped, GradientDescent):
    """Gradient descent on 𝓛 + ρ Tr 𝓗, the trace by Hutchinson's estimate of the step's batch.

    Tr 𝓗 = E vᵀ𝓗v for v of random signs, fresh in every step; the gradient of the estimate is
    exact. 𝓗 is that of the batch. Source: Liu, Yu & Lin, Hessian regularization of deep neural
    networks: a novel approach based on stochastic estimators of Hessian trace, 2023.
    """

    name: ClassVar[str] = "trace-penalty"
    own: ClassVar[type[Wrap]] = TraceOfHessian
    version: ClassVar[int] = 1

    rho: float = Field(description="weight ρ of the trace", ge=0, examples=[0.05])
    probes: int = Field(1, description="random vectors per step", ge=1)


class SWA(GradientDescent):
    """θ is the mean of w_{s+1} … w_t, w ← w − η_t∇𝓛(w) as in gradient-descent, s = average_after.

    The first s steps are those of gradient-descent, θ = w. Then w continues in the state, and θ,
    used by every snapshot, loss and measurement, is the mean of the weights after each step beyond
    s. Such a step also computes a gradient at θ, on which the weights do not depend. Source:
    Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018, with
    one learning rate and a mean over steps instead of epochs.
    """

    name: ClassVar[str] = "swa"
    version: ClassVar[int] = 1

    average_after: int = Field(
        description="s, steps before the first that is averaged", ge=0, examples=[10]
    )

    def products_per_step(self, outputs: int) -> float:
        return 0.5  # what the second gradient costs

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        return {**super().init(objective, theta, seed), "weights": theta}

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step of w, then the mean; None if w is not finite."""
        averaged = cast(int, state["steps"]) - self.average_after
        if averaged <= 0:  # θ is w
            taken = super().step(evaluation, state, max_flow_time)
        else:
            ahead = evaluation.objective.evaluate(cast("Tensor", state["weights"]))
            taken = super().step(ahead, state, max_flow_time)
        if taken is None:
            return None
        weights = taken.theta
        theta = weights if averaged <= 0 else evaluation.theta.lerp(weights, 1 / (averaged + 1))
        return replace(taken, theta=theta, state={**taken.state, "weights": weights})

    def _words(self) -> list[str]:
        return [*super()._words(), f"weights averaged after {self.average_after} steps"]


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
        return super().products_per_step(outputs) + 0.5  # what the second gradient costs

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        return {**super().init(objective, theta, seed), "seed": seed}

    def _gradient_at(self, evaluation: Evaluation, state: State) -> Tensor:
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
