"""Small random problems for the oracles: a few hundred parameters, ragged chunks, float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from eosflow.datasets.dice import Dice
from eosflow.networks import NETWORKS
from eosflow.networks.base import NetworkSettings, Shape
from eosflow.networks.mlp import MLPSettings
from eosflow.networks.perceptron import MLP
from eosflow.objectives import make
from eosflow.objectives.base import Objective
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.optimizers.penalties import (
    diagonal_fisher,
    penalty_gradient,
    trace_and_gradient,
)
from eosflow.runs.snapshots import EveryIterations
from eosflow.runs.spec import RunSpec, Stop

DIMENSIONS = (5, 6, 7, 6, 4)
CRITERIA = ("cross_entropy", "squared_error", "mean_squared_error")
# Everything at once; three examples at a time, 13 = 4·3 + 1; one at a time.
WORKSPACES = {"whole": 2**28, "ragged": 5800, "single": 1}


def small_problem(
    criterion: str, examples: int = 13, workspace: str = "whole", seed: int = 0
) -> tuple[MLPObjective, Tensor]:
    """An objective and a point θ away from its initialisation (biases are not zero)."""
    stream = torch.Generator().manual_seed(seed)
    network = MLP(DIMENSIONS)
    inputs = torch.randn(examples, DIMENSIONS[0], generator=stream, dtype=torch.float64)
    labels = torch.randint(0, DIMENSIONS[-1], (examples,), generator=stream)
    objective = MLPObjective(network, criterion, inputs, labels, WORKSPACES[workspace])
    noise = torch.randn(network.parameters, generator=stream, dtype=torch.float64)
    return objective, network.initialize(seed) + 0.1 * noise


# Of one input, by what a network reads.
SHAPES: dict[str, Shape] = {
    "vectors": (5,),
    "images": (1, 10, 10),
    "sequences": (3, 4),
    "token ids": (3, 7),
}
# What makes a network of the registry small and smooth; another one is its example.
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"width": 5, "depth": 3, "activation": "tanh"},
    "cnn": {"channels": 1, "dense": 3, "activation": "tanh"},
    "resnet": {"blocks": 1, "channels": 1, "activation": "tanh"},
    "lstm": {"hidden": 3},
    "vit": {"patch": 5, "width": 4, "depth": 1, "heads": 2},
    "bert": {"layers": 2, "width": 8, "heads": 2, "vocabulary": 9, "positions": 9},
}


def small_network(name: str) -> tuple[NetworkSettings, Shape]:
    """A network of the registry, and the shape of an input for it."""
    settings = NETWORKS[name].example().model_copy(update=SMALL.get(name, {}))
    return settings, SHAPES[settings.reads]


def network_problem(name: str) -> tuple[Objective, Tensor]:
    """Five examples of three classes for a network of the registry, away from its start."""
    settings, shape = small_network(name)
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, *shape, generator=stream, dtype=torch.float64)
    if settings.reads == "token ids":
        inputs[:, 0] = torch.randint(1, 9, (5, shape[1]), generator=stream).double()
        inputs[:, 1:] = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
        inputs[1:3, :, 4:] = 0  # padding
    network = settings.build(shape, 3)
    theta = network.initialize(0)
    theta += 0.3 * torch.randn(len(theta), generator=stream, dtype=torch.float64)
    return make(network, "cross_entropy", inputs.flatten(1), torch.arange(5) % 3), theta


def write_noise_subset(path: Path, seed: int, images: int = 30, pixels: int = 16) -> Path:
    """Images of noise with random labels, in the form of a subset file."""
    numbers = np.random.Generator(np.random.PCG64(seed))
    np.savez(
        path,
        inputs=numbers.integers(0, 256, (images, pixels), dtype=np.uint8),
        labels=numbers.integers(0, 6, images),
        indices=np.arange(images),
        scale=np.float64(1 / 255),
    )
    return path


def small_spec(**changes: object) -> RunSpec:
    """Dice at 4×4 pixels and width 8, a run of a second; `changes` are settings of any part."""
    spec = RunSpec(
        experiment="dice-ce",
        dataset="dice",
        data=Dice(image_size=4),
        criterion="cross_entropy",
        n=21,
        init_seed=0,
        subset_seed=0,
        network=MLPSettings(width=8, depth=4),
        optimizer=ExponentialEuler(max_step_size=0.2, eigen_tolerance=0.01),
        target_loss=0.6,
        stop=Stop(max_iterations=400),
        snapshots=EveryIterations(every=20),
    )
    for name, value in changes.items():
        parts = ("data", "network", "optimizer", "batch", "stop", "snapshots")
        owner = next((part for part in parts if hasattr(getattr(spec, part), name)), None)
        if owner is not None:
            value = getattr(spec, owner).model_copy(update={name: value})
        spec = dataclasses.replace(spec, **{owner or name: value})
    return spec


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal to a share of the largest entry."""
    scale = expected.abs().max().clamp(min=1e-300)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * scale.item())


def assert_derivatives(
    objective: Objective, theta: Tensor, losses: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Every derivative of an objective against backward through backward of its losses (N,),
    by default the cross-entropy of the network's outputs.

    Not torch.func.hessian, which is wrong by percents at the weights of PyTorch's own LayerNorm.
    Differences of gradients are wrong by percents if a layer rounds to float32 on its way. Then
    the penalties of TRACER, by single examples, and of the trace, a third derivative.
    """
    stream = torch.Generator().manual_seed(4)
    block = torch.randn(2, len(theta), generator=stream, dtype=torch.float64).T
    variable = theta.clone().requires_grad_()
    outputs = objective.network.outputs(variable, objective.inputs)
    plain = functional.cross_entropy(outputs, objective.targets, reduction="none")
    each = losses(variable) if losses else plain
    (gradient,) = torch.autograd.grad(each.mean(), variable, create_graph=True)
    evaluation = objective.evaluate(theta)
    close(evaluation.gradient, gradient.detach(), 1e-11)
    twice = [torch.autograd.grad(gradient @ v, variable, retain_graph=True)[0] for v in block.T]
    products = evaluation.hessian(block)
    close(products, torch.stack(twice, 1), 1e-10)
    step = 1e-5
    sides = [objective.evaluate(theta + sign * step * block[:, 0]).gradient for sign in (1, -1)]
    close(products[:, 0], (sides[0] - sides[1]) / (2 * step), 1e-6)
    close(evaluation.gauss_newton(block) + evaluation.residual(block), products, 1e-10)

    rows = [torch.autograd.grad(value, variable, create_graph=True)[0] for value in each]
    fisher = torch.stack(rows).square().mean(0)
    close(diagonal_fisher(objective, theta), fisher.detach(), 1e-11)
    weights = torch.rand(len(theta), generator=stream, dtype=torch.float64)
    (penalty,) = torch.autograd.grad(weights @ fisher, variable)
    close(penalty_gradient(objective, theta, weights), penalty, 1e-10)

    probe = torch.randint(0, 2, (len(theta),), generator=stream).double() * 2 - 1

    def curvature(at: Tensor) -> float:
        return (probe @ objective.evaluate(at).hessian(probe[:, None])[:, 0]).item()

    value, slopes = trace_and_gradient(objective, theta, probe[None])
    assert value.item() == pytest.approx(curvature(theta), rel=1e-10)
    along = step * block[:, 0]
    slope = (curvature(theta + along) - curvature(theta - along)) / (2 * step)
    assert (slopes @ block[:, 0]).item() == pytest.approx(slope, rel=1e-5)
