"""Gradients of penalties: traces of the curvature and of the Fisher matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective

# Copies of θ that the gradient of the penalty holds per example.
COPIES = 6


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
    total += objective.weight_decay * probes.square().sum()  # vᵀλv
    return total / len(probes), gradient / len(probes)


def diagonal_fisher(objective: Objective, theta: Tensor) -> Tensor:
    """F_i = E(∂_iℓ)² (P,), the mean over the objective's examples, at θ (P,)."""
    import torch

    total = torch.zeros_like(theta)
    for inputs, targets in _parts(objective, theta):
        total += _gradients(objective, theta, inputs, targets).square_().sum(0)
    return total / objective.examples


def penalty_gradient(objective: Objective, theta: Tensor, weights: Tensor) -> Tensor:
    """∇ Σ_i u_i F_i(θ) (P,) for weights u (P,) frozen.

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
    """Σ_n 𝓗_n (u ∘ g_n) (P,), each product by the derivative of g_n along its vector."""
    from torch.func import grad, jvp, vmap

    def one(example: Tensor, target: Tensor) -> Tensor:
        def gradient(parameters: Tensor) -> Tensor:
            slope: Tensor = grad(_loss_of(objective))(parameters, example, target)
            return slope

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
