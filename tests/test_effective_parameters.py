"""N_eff: the hat matrix of ridge regression, its bounds, and what a change of coordinates does."""

from __future__ import annotations

import pytest
import torch
from problems import small_problem
from torch import nn

from eosflow.measurements.effective_parameters import EffectiveParameters
from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.networks.perceptron import MLP
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.storage.columns import types_of

RIDGE = 0.03


def linear() -> ModuleObjective:
    """½ E(y − w·x)²: G = XᵀX/n."""
    stream = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 12, generator=stream, dtype=torch.float64)
    inputs *= torch.logspace(-2, 0, 12, dtype=torch.float64)
    targets = torch.randn(30, 1, generator=stream, dtype=torch.float64)
    module = ModuleNetwork(nn.Linear(12, 1, bias=False), (12,), glorot_uniform)
    return ModuleObjective(module, "half_squared_error", inputs, targets)


def count(objective: ModuleObjective, **settings: float) -> dict[str, float]:
    theta = objective.network.initialize(0)
    return EffectiveParameters(**settings).measure(objective, theta, 0, 0)


def test_equals_the_trace_of_the_hat_matrix_and_mackays_gamma() -> None:
    objective = linear()
    x = objective.inputs
    n, k = x.shape
    record = count(objective, alpha=RIDGE)
    assert record.keys() == set(types_of(EffectiveParameters().columns(1)))
    gauss_newton = x.T @ x / n
    # min ½ E(y − w·x)² + ½ α‖w‖²: fitted values are Xw = Hy.
    hat = x @ torch.linalg.solve(x.T @ x + n * RIDGE * torch.eye(k, dtype=x.dtype), x.T)
    assert record["effective_parameters"] == pytest.approx(hat.trace().item(), rel=1e-12)
    inverse = torch.linalg.inv(gauss_newton + RIDGE * torch.eye(k, dtype=x.dtype))
    gamma = k - RIDGE * inverse.trace().item()
    assert record["effective_parameters"] == pytest.approx(gamma, rel=1e-12)
    largest = torch.linalg.eigvalsh(gauss_newton)[-1].item()
    assert record["sharpness_gauss_newton"] == pytest.approx(largest, rel=1e-12)
    same = count(objective, alpha=0.01 * largest)["effective_parameters"]
    assert record["effective_parameters_relative"] == pytest.approx(same, rel=1e-12)


def test_without_any_curvature_there_are_none() -> None:
    flat = linear()
    flat.inputs.zero_()
    for exact in (500, 0):
        record = count(flat, exact_up_to=exact)
        assert record["effective_parameters"] == 0
        assert record["effective_parameters_relative"] == 0
        assert record["sharpness_gauss_newton"] == 0


def test_quadrature_agrees_within_its_error() -> None:
    objective, theta = small_problem("cross_entropy")
    exact = EffectiveParameters().measure(objective, theta, 0, 0)
    estimated = EffectiveParameters(exact_up_to=0, probes=50, steps=50)
    record = estimated.measure(objective, theta, 0, 0)
    for name in ("effective_parameters", "effective_parameters_relative"):
        assert exact[f"{name}_error"] == 0
        assert 0 < record[f"{name}_error"] < 1
        assert abs(record[name] - exact[name]) < 4 * record[f"{name}_error"]
    value = exact["sharpness_gauss_newton"]
    assert record["sharpness_gauss_newton"] == pytest.approx(value, rel=1e-6)
    assert record["residual_gauss_newton"] <= 1e-4


def test_more_inputs_than_examples_change_nothing() -> None:
    """In the span of the inputs: as from all eigenvalues of G in all coordinates."""
    stream = torch.Generator().manual_seed(4)
    inputs = torch.randn(6, 30, generator=stream, dtype=torch.float64)
    network = MLP((30, 5, 4, 3), "tanh")
    objective = MLPObjective(network, "cross_entropy", inputs, torch.arange(6) % 3)
    theta = network.initialize(0)
    evaluation = objective.evaluate(theta)
    gauss_newton = evaluation.gauss_newton(torch.eye(len(theta)).to(theta))
    values = torch.linalg.eigvalsh(gauss_newton).clamp(min=0)
    exact = EffectiveParameters().measure(objective, theta, 0, 0)
    for name, alpha in {"": 0.01, "_relative": 0.01 * values[-1].item()}.items():
        expected = (values / (values + alpha)).sum().item()
        assert exact[f"effective_parameters{name}"] == pytest.approx(expected, rel=1e-9)
    assert exact["sharpness_gauss_newton"] == pytest.approx(values[-1].item(), rel=1e-10)
    few = EffectiveParameters(exact_up_to=0, probes=100).measure(objective, theta, 0, 0)
    distance = abs(few["effective_parameters"] - exact["effective_parameters"])
    assert distance < 4 * few["effective_parameters_error"]
