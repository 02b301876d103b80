"""Small random problems for the oracles: a few hundred parameters, ragged chunks, float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from eosflow.datasets.dice import Dice
from eosflow.networks import NETWORKS
from eosflow.networks.base import NetworkSettings, Shape
from eosflow.networks.mlp import MLPSettings
from eosflow.networks.perceptron import MLP
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
    "images": (3, 32, 32),
    "sequences": (7, 9),
    "token ids": (3, 7),
}


def small_network(name: str) -> tuple[NetworkSettings, Shape]:
    """A network of the registry by its example, BERT smaller, and the shape of an input for it."""
    small = {"layers": 2, "width": 8, "heads": 2, "vocabulary": 9, "positions": 9}
    settings = NETWORKS[name].example().model_copy(update=small if name == "bert" else {})
    return settings, SHAPES[settings.reads]


def write_noise_subset(path: Path, seed: int) -> Path:
    """Thirty 4×4 images of noise with random labels, in the form of a subset file."""
    numbers = np.random.Generator(np.random.PCG64(seed))
    np.savez(
        path,
        inputs=numbers.integers(0, 256, (30, 16), dtype=np.uint8),
        labels=numbers.integers(0, 6, 30),
        indices=np.arange(30),
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
    objective: Objective, theta: Tensor, losses: Callable[[Tensor], Tensor]
) -> None:
    """Every derivative of an objective against backward through backward of its losses (N,).

    Not torch.func.hessian, which is wrong by percents at the weights of PyTorch's own LayerNorm.
    Differences of gradients are wrong by percents if a layer rounds to float32 on its way. Then
    the penalties of TRACER, by single examples, and of the trace, a third derivative.
    """
    stream = torch.Generator().manual_seed(4)
    block = torch.randn(2, len(theta), generator=stream, dtype=torch.float64).T
    variable = theta.clone().requires_grad_()
    each = losses(variable)
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
