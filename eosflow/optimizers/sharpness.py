"""Optimizers that look for flat minima: SAM, and the penalty Tr(G⁻¹F) of TRACER."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import State
from eosflow.optimizers.gradient import Buffers, GradientDescent, GradientOptimizer
from eosflow.optimizers.preconditioned import Adam

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective

# Copies of θ that the gradient of the penalty holds per example.
COPIES = 6


class _SharpnessAware(GradientOptimizer):
    """A step by the gradient at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ), from θ.

    A clipped gradient is that at θ + ε. Two gradients per step. Source: Foret et al. 2021;
    github.com/davda54/sam, where any optimizer may take the step.
    """

    rho: float = Field(description="radius ρ of the perturbation", ge=0, examples=[0.05])

    def products_per_step(self, outputs: int) -> float:
        """The second gradient costs about half a product."""
        return 0.5

    def gradients_per_step(self) -> float:
        """That at θ + ε too."""
        return 2.0

    def vectors_held(self, outputs: int) -> float:
        """Those of the base, the perturbed θ and its gradient."""
        return super().vectors_held(outputs) + 3.0

    def _gradient(
        self, objective: Objective, evaluation: Evaluation, state: State
    ) -> tuple[Tensor, Buffers]:
        if not self.rho:
            return evaluation.gradient, {}
        scale = self.rho / (evaluation.gradient.norm().item() + 1e-12)
        ahead = objective.evaluate(evaluation.theta.add(evaluation.gradient, alpha=scale))
        gradient = ahead.gradient.clone()
        return gradient, {}

    def _words(self) -> list[str]:
        # Each subclass has a whole optimizer behind this one.
        name, *rest = super()._words()  # type: ignore[safe-super]
        base = "SAM" if name == "gradient descent" else f"SAM with {name}"
        return [base, f"radius {self.rho:g}", *rest]


class SAM(_SharpnessAware, GradientDescent):
    """Gradient descent whose gradient is that at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ).

    The step itself goes from θ, with momentum and weight decay as gradient-descent has them; a
    clipped gradient is that at θ + ε. On a quadratic it is g + ρ 𝓗g/‖g‖. Two gradients per step.
    Source: Foret et al. 2021; github.com/davda54/sam.
    """

    name: ClassVar[str] = "sam"
    version: ClassVar[int] = 1

    def edge(self, gradient_norm: float = math.inf) -> float:
        """η times the sharpness at which SAM starts to oscillate: η(‖g‖/2ρ)(√(1 + 8ρ/(η‖g‖)) − 1).

        η times the root λ of η(λ + ρλ²/‖g‖) = 2, written without the difference: 2 at ρ = 0 or far
        from any minimum, 0 at g = 0. Without momentum. Source: Long & Bartlett, Sharpness-aware
        minimization and the edge of stability, 2024.
        """
        if self.rho and not gradient_norm:
            return 0.0
        ratio = 8 * self.rho / (self.learning_rate * gradient_norm) if self.rho else 0.0
        return 4 / (1 + math.sqrt(1 + ratio))


class AdamSAM(_SharpnessAware, Adam):
    """Adam whose gradient is that at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ); see sam."""

    name: ClassVar[str] = "adam-sam"


class _Tracer(GradientOptimizer):
    """Adds ρ ∇R to ∇𝓛, R = Σ_i u_i F_i with u = 1/(G + δ) held fast: the penalty ρ Tr(G⁻¹F).

    F_i = E(∂_iℓ)² is the diagonal of the empirical Fisher matrix, which stands for 𝓗; G is its
    running mean, G ← (1 − β)G + βF, and F itself in the first step. Source: the slides of Roberts
    and Williams & Roberts 2023 for the penalty and G. That F is the empirical Fisher matrix over
    single examples, the values of β and δ, where G starts, and that momentum sees the penalty too,
    were not verified in the source.
    """

    version: ClassVar[int] = 2

    rho: float = Field(description="weight ρ of the penalty", ge=0, examples=[0.05])
    fisher_rate: float = Field(
        0.1, description="β, by which G moves to the Fisher matrix", gt=0, le=1
    )
    damping: float = Field(0.001, description="δ, added to G", gt=0)

    def products_per_step(self, outputs: int) -> float:
        """A product with the Hessian of each example."""
        return 1.0

    def gradients_per_step(self) -> float:
        """Single examples' gradients, whose mean is the gradient, and their Hessians' products."""
        return 3.0

    def vectors_held(self, outputs: int) -> float:
        """Those of the base, G before and after, F, u and the penalty's gradient."""
        return super().vectors_held(outputs) + 5.0

    def _buffers(self) -> tuple[str, ...]:
        # Each subclass has a whole optimizer behind this one.
        return (*super()._buffers(), "fisher")

    def _gradient(
        self, objective: Objective, evaluation: Evaluation, state: State
    ) -> tuple[Tensor, Buffers]:
        theta, before = evaluation.theta, cast("Tensor", state["fisher"])
        fisher = diagonal_fisher(objective, theta)
        mean = before.lerp(fisher, self.fisher_rate) if state["steps"] else fisher
        if not self.rho:
            return evaluation.gradient, {"fisher": mean}
        penalty = penalty_gradient(objective, theta, 1 / (mean + self.damping))
        return evaluation.gradient.add(penalty, alpha=self.rho), {"fisher": mean}

    def _words(self) -> list[str]:
        name, *rest = super()._words()  # type: ignore[safe-super]
        base = "SGD" if name == "gradient descent" else name
        words = [f"penalty {self.rho:g}", f"β {self.fisher_rate:g}", f"δ {self.damping:g}"]
        return [f"{base}-TRACER", *words, *rest]


class SGDTracer(_Tracer, GradientDescent):
    """Gradient descent on 𝓛 + ρ Tr(G⁻¹F), G the running diagonal Fisher matrix, held fast."""

    name: ClassVar[str] = "sgd-tracer"


class AdamTracer(_Tracer, Adam):
    """Adam on 𝓛 + ρ Tr(G⁻¹F), G the running diagonal Fisher matrix, held fast."""

    name: ClassVar[str] = "adam-tracer"


def diagonal_fisher(objective: Objective, theta: Tensor) -> Tensor:
    """F_i = E(∂_iℓ)² (P,), the mean over the objective's examples, at θ (P,)."""
    import torch

    total = torch.zeros_like(theta)
    for inputs, targets in _parts(objective, theta):
        total += _gradients(objective, theta, inputs, targets).square_().sum(0)
    return total / objective.examples


def penalty_gradient(objective: Objective, theta: Tensor, weights: Tensor) -> Tensor:
    """∇ Σ_i u_i F_i(θ) (P,) for weights u (P,) held fast.

    Implements: 2 E[𝓗_n (u ∘ g_n)], with gradient g_n and Hessian 𝓗_n of example n's loss.
    """
    import torch

    from eosflow.networks.perceptron import MLP

    # Backward through all g_n at once is twice as fast. But PyTorch's (2.13) LayerNorm gives wrong
    # numbers there, without a word: in vmap's gradient of it mean and deviation are constants.
    plain = isinstance(objective.network, MLP)
    products = _products_at_once if plain else _products_one_by_one
    total = torch.zeros_like(theta)
    for inputs, targets in _parts(objective, theta):
        total += products(objective, theta, weights, inputs, targets)
    return total * (2 / objective.examples)


def _products_at_once(
    objective: Objective, theta: Tensor, weights: Tensor, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Σ_n 𝓗_n (u ∘ g_n) (P,) over these examples."""
    from torch.func import vjp

    def gradients(parameters: Tensor) -> Tensor:
        return _gradients(objective, parameters, inputs, targets)

    each, back = vjp(gradients, theta)  # type: ignore[misc]
    total: Tensor = back(each * weights)[0]
    return total


def _products_one_by_one(
    objective: Objective, theta: Tensor, weights: Tensor, inputs: Tensor, targets: Tensor
) -> Tensor:
    """The same, each product by the derivative of g_n along its vector."""
    from torch.func import grad, jvp, vmap

    def one(example: Tensor, target: Tensor) -> Tensor:
        def gradient(parameters: Tensor) -> Tensor:
            found: Tensor = grad(_loss_of(objective))(parameters, example, target)
            return found

        direction = weights * gradient(theta)
        product: Tensor = jvp(gradient, (theta,), (direction,))[1]
        return product

    total: Tensor = vmap(one)(inputs, targets).sum(0)
    return total


def _gradients(objective: Objective, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """∇ℓ of each of these examples, (n, P)."""
    from torch.func import grad, vmap

    each: Tensor = vmap(grad(_loss_of(objective)), in_dims=(None, 0, 0))(theta, inputs, targets)
    return each


def _loss_of(objective: Objective) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(θ, x, y) ↦ ℓ of one example."""
    network, criterion = objective.network, objective.criterion

    def loss(parameters: Tensor, example: Tensor, target: Tensor) -> Tensor:
        return criterion.value(network.outputs(parameters, example[None]), target[None])[0]

    return loss


def _parts(objective: Objective, theta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets of so many examples at a time that their gradients fit the memory."""
    from eosflow.objectives.base import WORKSPACE_BYTES

    length = max(1, WORKSPACE_BYTES // (COPIES * theta.numel() * theta.element_size()))
    for start in range(0, objective.examples, length):
        part = slice(start, start + length)
        yield objective.inputs[part].to(theta), objective.targets[part].to(theta.device)
