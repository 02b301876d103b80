"""Dense float64 references by torch.func, on networks with a few hundred parameters."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.func import hessian, jacrev, vmap

from eosflow.networks.perceptron import MLP
from eosflow.objectives.mlp import MLPObjective


def reference_outputs(network: MLP, theta: Tensor, example: Tensor) -> Tensor:
    """z_L of one example, written with torch.nn's own layers."""
    sizes = network.dimensions
    position, state = 0, example
    for into, out in itertools.pairwise(sizes):
        weight = theta[position : position + into * out].reshape(out, into)
        bias = theta[position + into * out : position + into * out + out]
        position += into * out + out
        state = weight @ state + bias
        if position < len(theta):
            state = torch.nn.functional.elu(state)
    return state


def reference_value(criterion: str, outputs: Tensor, label: Tensor) -> Tensor:
    if criterion == "cross_entropy":
        return torch.logsumexp(outputs, 0) - outputs[label]
    target = torch.zeros_like(outputs)
    target[label] = 1.0
    squares = (outputs - target) ** 2
    return squares.mean() if criterion == "mean_squared_error" else squares.sum()


def reference_loss(objective: MLPObjective, criterion: str, theta: Tensor) -> Tensor:
    values = [
        reference_value(criterion, reference_outputs(objective.network, theta, x), y)
        for x, y in zip(objective.inputs, objective.targets, strict=True)
    ]
    return torch.stack(values).mean()


def dense_hessian(objective: MLPObjective, criterion: str, theta: Tensor) -> Tensor:
    """𝓗 (P, P) by torch.func.hessian of the loss."""
    return hessian(lambda t: reference_loss(objective, criterion, t))(theta)


def parameter_jacobians(objective: MLPObjective, theta: Tensor) -> Tensor:
    """∂z_L/∂θ per example, (N, C, P)."""
    return vmap(lambda x: jacrev(lambda t: reference_outputs(objective.network, t, x))(theta))(
        objective.inputs
    )


def criterion_hessians(objective: MLPObjective, criterion: str, theta: Tensor) -> Tensor:
    """H_ℓ per example (N, C, C) by torch.func.hessian of ℓ in z."""
    return torch.stack(
        [
            hessian(lambda z, y=y: reference_value(criterion, z, y))(
                reference_outputs(objective.network, theta, x)
            )
            for x, y in zip(objective.inputs, objective.targets, strict=True)
        ]
    )


def dense_gauss_newton(objective: MLPObjective, criterion: str, theta: Tensor) -> Tensor:
    """G (P, P) = E[Jᵀ H_ℓ J] with J and H_ℓ from torch.func."""
    jacobians = parameter_jacobians(objective, theta)
    hessians = criterion_hessians(objective, criterion, theta)
    return torch.einsum("ncp,ncd,ndq->pq", jacobians, hessians, jacobians) / len(jacobians)
