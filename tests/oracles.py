"""Dense float64 references by torch.func, on networks with a few hundred parameters."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import mpmath
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, vmap

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


def dense_links(
    links: Sequence[nn.Module], inputs: Tensor, hessian_of: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """The factors of a chain of modules from dense Jacobians per example, SVDs and products.

    Every link is a module z_{l−1} ↦ z_l, all of whose parameters are its θ_l; hessian_of(z) is the
    C×C matrix H_ℓ at the outputs z (C,) of one example.
    """
    sums: dict[str, Tensor | float] = defaultdict(float)
    count = len(links)
    for example in inputs:
        states, by_state, by_theta = [example[None]], [], []
        for link in links:
            z = states[-1]
            held = {name: p.detach() for name, p in link.named_parameters()}

            def run(held: Mapping[str, Tensor], z: Tensor, link: nn.Module = link) -> Tensor:
                return functional_call(link, dict(held), (z.clone(),)).reshape(-1)

            states.append(link(z.clone()).detach())
            by_state.append(jacrev(run, argnums=1)(held, z).reshape(states[-1].numel(), -1))
            parts = [p.flatten(1) for p in jacrev(run)(held, z).values()] if held else []
            by_theta.append(torch.cat(parts, 1) if parts else None)
        values, vectors = torch.linalg.eigh(hessian_of(states[-1].reshape(-1)))
        back = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
        sums["criterion_norm2"] += norm2(back)
        blocks = []
        for at in range(count, 0, -1):
            sums[f"preactivation_norm2_{at}"] += norm2(back)
            if by_theta[at - 1] is not None:
                blocks.append(back @ by_theta[at - 1])
                sums[f"layer_norm2_{at}"] += norm2(blocks[-1])
                sums[f"activation_norm2_{at}"] += norm2(by_theta[at - 1])
                sums[f"joint_{at}"] += norm2(by_theta[at - 1]) * norm2(back)
            if at > 1:
                sums[f"jacobian_norm2_{at - 1}"] += norm2(by_state[at - 1])
                back = back @ by_state[at - 1]
        sums["m_norm2"] += norm2(torch.cat(blocks, 1))
    record = {name: float(total) / len(inputs) for name, total in sums.items()}
    record["alignment_product"] = 1.0
    for at in range(1, count + 1):
        behind = record[f"preactivation_norm2_{at}"]
        if f"layer_norm2_{at}" in record:
            joint, layer = record.pop(f"joint_{at}"), record[f"layer_norm2_{at}"]
            apart = record[f"activation_norm2_{at}"] * behind
            record[f"activation_ratio_{at}"] = layer / apart
            record[f"activation_covariance_{at}"] = joint / apart
            record[f"weight_sharing_{at}"] = layer / joint
        if at < count:
            ahead = record[f"preactivation_norm2_{at + 1}"] * record[f"jacobian_norm2_{at}"]
            record[f"alignment_{at}"] = behind / ahead
            record["alignment_product"] *= behind / ahead
    return record


def norm2(matrix: Tensor) -> Tensor:
    """The squared operator norm, by SVD."""
    return torch.linalg.svdvals(matrix)[0] ** 2


def exact_phi(order: int, argument: float) -> float:
    """φ_k(z) = ₁F₁(1; k + 1; z)/k!, to 400 digits on the way."""
    with mpmath.workdps(400):
        return float(mpmath.hyp1f1(1, order + 1, argument) / mpmath.factorial(order))
