"""Gradient descent made to prefer little curvature: a penalty Tr 𝓗, and noise along q₁.

Random numbers come from the seed and the number of the step, not from a stream that moves on: a
run that is taken up again draws the same ones.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import State, Step
from eosflow.optimizers.gradient import Buffers, GradientDescent
from eosflow.optimizers.subspace import SubspaceOptimizer
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective


class TracePenalty(GradientDescent):
    """Gradient descent on 𝓛 + ρ Tr 𝓗, the trace by Hutchinson's estimate of the step's batch.

    Tr 𝓗 = E vᵀ𝓗v for v of random signs, fresh in every step; the gradient of the estimate is
    exact. 𝓗 is that of the batch. Source: Liu, Yu & Lin, Hessian regularization of deep neural
    networks: a novel approach based on stochastic estimators of Hessian trace, 2023.
    """

    name: ClassVar[str] = "trace-penalty"
    version: ClassVar[int] = 1

    rho: float = Field(description="weight ρ of the trace", ge=0, examples=[0.05])
    probes: int = Field(1, description="random vectors per step", ge=1)

    def columns(self, parameters: int, outputs: int) -> Columns:
        """Also the estimate of Tr 𝓗 before the step; 0 where ρ is."""
        return (
            *super().columns(parameters, outputs),
            Column(
                "trace",
                "Tr 𝓗",
                "Hutchinson's estimate on the examples of the step, whose gradient is the "
                "penalty's; 0 at ρ = 0",
                "loss / parameter²",
            ),
        )

    def products_per_step(self, outputs: int) -> float:
        """The estimate's gradient is that of a second derivative: three more gradients a probe."""
        return 1.5 * self.probes

    def gradients_per_step(self) -> float:
        """Each probe's vᵀ𝓗v has a gradient that costs three, for it is a third derivative."""
        return 1.0 + 3.0 * self.probes

    def vectors_held(self, outputs: int) -> float:
        """Those of gradient descent, a probe and the gradient of the estimate."""
        return super().vectors_held(outputs) + 4.0

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """Also the `seed` that the probes are drawn with, and `trace`, the last estimate.

        Raises: UserError where PyTorch's third derivatives of the network are wrong.
        """
        from eosflow.objectives.third_derivatives import check_third_derivatives

        def slope_of(probe: Tensor) -> Tensor:
            return trace_and_gradient(objective, theta, probe[None])[1]

        if self.rho:
            check_third_derivatives(objective, theta, seed, self.name, slope_of)
        start = super().init(objective, theta, seed)
        return {**start, "seed": seed, "trace": theta.new_zeros(())}

    def step(
        self,
        objective: Objective,
        evaluation: Evaluation,
        state: State,
        max_flow_time: float = math.inf,
    ) -> Step | None:
        """One step; None where it is not finite."""
        taken = super().step(objective, evaluation, state, max_flow_time)
        if taken is None:
            return None
        after = {"trace": state["trace"], **taken.state, "seed": state["seed"]}
        facts = {**taken.facts, "trace": float(cast("Tensor", after["trace"]))}
        return replace(taken, state=after, facts=facts)

    def _gradient(
        self, objective: Objective, evaluation: Evaluation, state: State
    ) -> tuple[Tensor, Buffers]:
        if not self.rho:
            return evaluation.gradient, {}
        from eosflow.spectra.density import probes
        from eosflow.spectra.randomness import generator

        stream = generator(cast(int, state["seed"]), f"trace probes {state['steps']}")
        signs = probes(len(evaluation.theta), self.probes, evaluation.theta, stream)
        trace, gradient = trace_and_gradient(objective, evaluation.theta, signs)
        return evaluation.gradient.add(gradient, alpha=self.rho), {"trace": trace}

    def _words(self) -> list[str]:
        name, *rest = super()._words()
        probes = f", {self.probes} probes" if self.probes > 1 else ""
        return [f"{name} with a penalty on the trace", f"ρ {self.rho:g}{probes}", *rest]


def trace_and_gradient(
    objective: Objective, theta: Tensor, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """(1/m) Σ vᵀ𝓗v (), and its gradient (P,), at θ (P,) for the probes v (m, P).

    Implements: vᵀ𝓗v = d²/dt² 𝓛(θ + tv) at t = 0, by two forward derivatives; then one backward.
    """
    from torch.func import grad_and_value, jvp

    network, criterion = objective.network, objective.criterion
    inputs, targets = objective.inputs.to(theta), objective.targets

    def loss(parameters: Tensor) -> Tensor:
        return criterion.value(network.outputs(parameters, inputs), targets).mean()

    def second(parameters: Tensor, probe: Tensor) -> Tensor:
        def first(place: Tensor) -> Tensor:
            slope: Tensor = jvp(loss, (place,), (probe,))[1]
            return slope

        curvature: Tensor = jvp(first, (parameters,), (probe,))[1]
        return curvature

    total, gradient = theta.new_zeros(()), theta.new_zeros(theta.shape)
    for probe in probes:
        slope, value = grad_and_value(second)(theta, probe)
        gradient += slope
        total += value
    return total / len(probes), gradient / len(probes)


class SharpestNoise(SubspaceOptimizer):
    """SGD whose gradient is that at θ + s Σ_{m≤K} ξ_m v_m, ξ standard normal, fresh in every step.

    v_m are the top K eigenvectors of 𝓗; K = 1 is noise along q₁ alone. In the mean over ξ this is
    gradient descent on 𝓛 + ½s² Σ_{m≤K} λ_m(𝓗), to second order in s. The step goes from θ itself.
    Of the two gradients that are taken, at θ and beside it, the step uses the second.
    Source: the slides of Roberts, in words; Camuto et al., Explicit regularisation in Gaussian
    noise injections, 2020, for what noise adds to the loss.
    """

    name: ClassVar[str] = "sharpest-noise"

    k: int = Field(1, description="K, along how many of the sharpest directions", ge=1)
    noise: float = Field(description="deviation s of the noise", ge=0, examples=[0.05])

    def products_per_step(self, outputs: int) -> float:
        """Those of the searches, and a second gradient, which costs about half a product."""
        return super().products_per_step(outputs) + 0.5

    def vectors_held(self, outputs: int) -> float:
        """Those of the search, the weights with noise and the gradient there."""
        return super().vectors_held(outputs) + 3.0

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """Also the `seed` that the noise is drawn with."""
        return {**super().init(objective, theta, seed), "seed": seed}

    def step(
        self,
        objective: Objective,
        evaluation: Evaluation,
        state: State,
        max_flow_time: float = math.inf,
    ) -> Step | None:
        """One step, after a search where one is due; None where it is not finite."""
        taken = super().step(objective, evaluation, state, max_flow_time)
        return taken and replace(taken, state={**taken.state, "seed": state["seed"]})

    def _gradient(
        self, objective: Objective, evaluation: Evaluation, state: State
    ) -> tuple[Tensor, Buffers]:
        if not self.noise:
            return evaluation.gradient, {}
        import torch

        from eosflow.spectra.randomness import generator

        directions = cast("Tensor", state["basis"])[: self.k]
        stream = generator(cast(int, state["seed"]), f"noise {state['steps']}")
        normal = torch.randn(len(directions), generator=stream, dtype=torch.float64)
        shift = directions.T @ (self.noise * normal).to(directions)
        beside = objective.evaluate(evaluation.theta + shift)
        gradient = beside.gradient.clone()
        return gradient, {}

    def _title(self) -> str:
        return f"SGD with noise of deviation {self.noise:g} on its weights"

    def _factors(self) -> tuple[float, float]:
        return 1.0, 1.0
