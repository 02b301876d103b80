"""Batch sharpness against a dense loop, critical sharpness against the curvature along a step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from oracles import dense_hessian, reference_loss
from problems import small_problem
from test_rosenbrock import Quadratic
from torch import Tensor, nn
from torch.func import grad

from eosflow.measurements.batch_sharpness import BatchSharpness
from eosflow.measurements.critical_sharpness import CriticalSharpness, critical_sharpness
from eosflow.measurements.spectral_density import Trace
from eosflow.measurements.top_eigenvalues import LayerSharpness
from eosflow.networks.chain import as_module
from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.base import Objective
from eosflow.objectives.module import ModuleObjective
from eosflow.spectra.randomness import generator
from eosflow.studies.testbeds import cheb

# --- batch sharpness


@pytest.mark.parametrize(("examples", "size"), [(12, 4), (13, 4), (13, 1), (13, 40)])
def test_batch_sharpness_is_that_of_a_dense_loop(examples: int, size: int) -> None:
    objective, theta = small_problem("cross_entropy", examples=examples)
    record = BatchSharpness(size=size).measure(objective, theta, 5, 0)
    size = min(size, examples)
    order = torch.randperm(examples, generator=generator(0, "batch-sharpness 5")).tolist()
    expected = []
    for start in range(0, examples - size + 1, size):
        batch = objective.batch(torch.tensor(order[start : start + size]))
        g = grad(lambda t, b=batch: reference_loss(b, "cross_entropy", t))(theta)
        expected.append((g @ dense_hessian(batch, "cross_entropy", theta) @ g / (g @ g)).item())
    assert record["batch_sharpness"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert (record["batches"], record["batch_size"]) == (len(expected), size)
    error = np.std(expected, ddof=1) / math.sqrt(len(expected)) if len(expected) > 1 else 0
    assert record["batch_sharpness_error"] == pytest.approx(error, rel=1e-7, abs=1e-12)


def linear(targets: list[float]) -> Objective:
    """f = θ·x on unit vectors x, ½(f − y)²: 𝓗 of a batch is a share of the identity on its rows."""
    network = ModuleNetwork(nn.Linear(3, 1, bias=False), (3,), lambda module, stream: None)
    answers = torch.tensor(targets, dtype=torch.float64)[:, None]
    inputs = torch.eye(3, dtype=torch.float64)
    return ModuleObjective(network, "half_squared_error", inputs, answers)


def test_batches_without_a_gradient_do_not_count() -> None:
    theta = torch.zeros(3, dtype=torch.float64)
    record = BatchSharpness(size=1).measure(linear([0.0, 1.0, 2.0]), theta, 0, 0)
    assert record["batches"] == 2
    assert record["batch_sharpness"] == pytest.approx(1.0)
    record = BatchSharpness(size=1).measure(linear([0.0, 0.0, 0.0]), theta, 0, 0)
    assert (record["batches"], record["batch_sharpness"]) == (0, 0.0)


# --- critical sharpness


@pytest.mark.parametrize("values", [[5.0], [40.0, 3.0, 0.5], [40.0, 3.0, 0.5, 0.0, -0.1]])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_on_a_quadratic_it_is_the_curvature_along_the_gradient(
    values: list[float], scale: float
) -> None:
    objective = Quadratic([scale * value for value in values])
    objective.slope = torch.zeros_like(objective.slope)
    theta = torch.linspace(1, 2, len(values), dtype=torch.float64)
    record = CriticalSharpness().measure(objective, theta, 0, 0)
    g, diagonal = objective.evaluate(theta).gradient, objective.values
    expected = (g @ (diagonal * g) / (g @ g)).item()
    assert abs(record["critical_sharpness"] - expected) <= record["critical_sharpness_error"]
    assert record["critical_sharpness_error"] <= 1e-3 * expected
    assert record["converged"]
    assert record["forward_passes"] <= 10


def test_along_another_optimizers_step_it_is_the_curvature_there() -> None:
    objective = Quadratic([40.0, 3.0, 0.5])
    theta = torch.ones(3, dtype=torch.float64)
    evaluation, diagonal = objective.evaluate(theta), objective.values
    direction = evaluation.gradient / torch.tensor([5.0, 2.0, 1.0], dtype=torch.float64)
    found = critical_sharpness(objective, evaluation, direction)
    expected = (direction @ (diagonal * direction) / (evaluation.gradient @ direction)).item()
    assert abs(found.sharpness - expected) <= found.error <= 1e-3 * expected
    uphill = critical_sharpness(objective, evaluation, -direction)
    assert (uphill.sharpness, uphill.converged) == (0.0, False)


@pytest.mark.parametrize("make", [cheb, lambda: small_problem("cross_entropy")[0]])
def test_on_a_network_the_loss_falls_before_the_critical_step_and_rises_after_it(make) -> None:
    objective = make()
    theta = objective.network.initialize(3).to(objective.inputs)
    record = CriticalSharpness().measure(objective, theta, 0, 0)
    g, loss = objective.evaluate(theta).gradient, objective.evaluate(theta).loss
    value, error = record["critical_sharpness"], record["critical_sharpness_error"]
    low, high = value - error, value + error
    assert record["converged"] and 0 < low < high
    # A longer step, that of a smaller sharpness, raises the loss; all shorter ones lower it.
    assert objective.evaluate(theta - 2 / low * g).loss > loss
    for share in np.linspace(0.02, 1, 50):
        assert objective.evaluate(theta - share * 2 / high * g).loss < loss
    assert record["forward_passes"] <= 12


class Line(Objective):
    """A loss of one number, by a function of it; the gradient is given."""

    def __init__(self, loss, slope: float) -> None:
        self._loss, self._slope = loss, slope

    def loss(self, theta: Tensor) -> float:
        return float(self._loss(theta.item()))

    def evaluate(self, theta: Tensor):
        class Here:
            pass

        here = Here()
        here.theta, here.loss = theta, self.loss(theta)
        here.gradient = torch.tensor([self._slope], dtype=torch.float64)
        return here

    per_example_grams = per_example_numbers = batch = None


def test_where_the_answer_is_not_known_it_says_so() -> None:
    start = torch.zeros(1, dtype=torch.float64)
    falls = CriticalSharpness().measure(Line(lambda x: math.exp(-abs(x)), -1.0), start, 0, 0)
    assert not falls["converged"]
    assert falls["critical_sharpness"] <= falls["critical_sharpness_error"]  # 0 is possible
    still = CriticalSharpness().measure(Line(lambda x: 1.0 + x * x, 0.0), start, 0, 0)
    assert (still["critical_sharpness"], still["converged"]) == (0.0, False)
    # It falls by 1e-17 of itself: rounding hides that.
    hidden = CriticalSharpness().measure(Line(lambda x: 1 + (x - 1e-9) ** 2, -2e-9), start, 0, 0)
    assert not hidden["converged"]
    # A wall, beyond which the loss is no number.
    wall = Line(lambda x: 1 - x if x < 0.25 else math.inf, -1.0)
    found = CriticalSharpness().measure(wall, start, 0, 0)
    assert found["critical_sharpness"] == pytest.approx(8.0, rel=1e-3)


@pytest.mark.parametrize("criterion", ["cross_entropy", "squared_error"])
def test_the_loss_alone_is_that_of_an_evaluation(criterion: str) -> None:
    objective, theta = small_problem(criterion)
    assert objective.loss(theta) == objective.evaluate(theta).loss
    network = cheb()
    at = network.network.initialize(0).to(network.inputs)
    assert network.loss(at) == network.evaluate(at).loss
    objective.weight_decay = network.weight_decay = 0.3
    for decayed, point in ((objective, theta), (network, at)):
        evaluation = decayed.evaluate(point)
        assert decayed.loss(point) == evaluation.loss
        step = 1e-6 * evaluation.gradient
        fallen = decayed.loss(point + step) - decayed.loss(point - step)
        assert fallen / 2 == pytest.approx((step @ evaluation.gradient).item(), rel=1e-5)


# --- blocks of layers, and the trace


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton", "residual"])
@pytest.mark.parametrize("closed", [True, False])
def test_blocks_and_trace_are_those_of_the_dense_matrix(matrix: Any, closed: bool) -> None:
    objective, theta = small_problem("cross_entropy", examples=9)
    sizes = objective.network.groups
    if not closed:
        network = as_module(objective.network)
        objective = ModuleObjective(network, "cross_entropy", objective.inputs, objective.targets)
    assert objective.network.groups == sizes
    eye = torch.eye(len(theta), dtype=theta.dtype)
    dense = objective.evaluate(theta).product(matrix, eye)
    record = LayerSharpness(matrix=matrix, tolerance=1e-6).measure(objective, theta, 0, 0)
    assert record["converged"]
    for number, part in enumerate(sizes, 1):
        expected = torch.linalg.eigvalsh(dense[part, part])[-1].item()
        assert record[f"layer_sharpness_{number}"] == pytest.approx(expected, rel=1e-9)
        assert record[f"layer_residual_{number}"] <= 1e-6
    assert f"layer_sharpness_{len(sizes) + 1}" not in record
    found = Trace(matrix=matrix, probes=400).measure(objective, theta, 0, 0)
    assert abs(found["trace"] - dense.trace().item()) <= 4 * found["trace_error"]
    assert found["trace_error"] <= 0.2 * dense.norm().item()
