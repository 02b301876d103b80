"""SAM and TRACER: what they are at ρ = 0, on quadratics, and by finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from problems import small_problem
from torch import Tensor, nn
from walks import steps_of

from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers import penalties
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.penalties import diagonal_fisher, penalty_gradient
from eosflow.optimizers.sharpness import SAM, SGDTracer, SharpestNoise, TracePenalty
from eosflow.studies.testbeds import cheb


def linear(examples: int, outputs: int) -> tuple[ModuleObjective, Tensor]:
    """½ E‖Wx − y‖², a quadratic in W (outputs, 4)."""
    stream = torch.Generator().manual_seed(2)
    inputs = torch.randn(examples, 4, generator=stream, dtype=torch.float64)
    targets = torch.randn(examples, outputs, generator=stream, dtype=torch.float64)
    network = ModuleNetwork(nn.Linear(4, outputs, bias=False), (4,), glorot_uniform)
    theta = network.initialize(0)
    return ModuleObjective(network, "half_squared_error", inputs, targets), theta


CLIPPED = {"momentum": 0.5, "weight_decay": 0.02, "clip_norm": 0.3}


@pytest.mark.parametrize(
    ("plugin", "settings", "weight"),
    [
        (SAM, {"momentum": 0.9, "nesterov": True, "clip_norm": 0.1}, "rho"),
        (SGDTracer, {"momentum": 0.5, "weight_decay": 0.02}, "rho"),
        (TracePenalty, CLIPPED, "rho"),
        (SharpestNoise, CLIPPED, "noise"),
    ],
)
def test_without_a_radius_weight_or_noise_it_is_the_base_step_for_step(
    plugin: type[GradientOptimizer], settings: dict[str, Any], weight: str
) -> None:
    objective, theta = cheb(), cheb().network.initialize(0)
    optimizer = plugin(learning_rate=0.05, **{weight: 0.0}, **settings)
    ours = steps_of(objective, optimizer, theta, 6)
    theirs = steps_of(objective, GradientDescent(learning_rate=0.05, **settings), theta, 6)
    # To the bit, but for the noise: an optimizer of subspaces adds its step up in another order.
    rtol, atol = (1e-12, 1e-14) if plugin is SharpestNoise else (0, 0)
    for step, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(step.theta, expected.theta, rtol=rtol, atol=atol)
        known = {name: step.facts[name] for name in expected.facts}
        assert known == pytest.approx(expected.facts, rel=rtol, abs=0)


def test_on_a_quadratic_sam_adds_the_hessian_along_the_gradient() -> None:
    objective, theta = linear(9, 2)
    evaluation = objective.evaluate(theta)
    gradient = evaluation.gradient
    curved = evaluation.hessian(gradient[:, None])[:, 0]
    (step,) = steps_of(objective, SAM(learning_rate=0.1, rho=0.3), theta, 1)
    expected = theta - 0.1 * (gradient + 0.3 * curved / gradient.norm())
    torch.testing.assert_close(step.theta, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("problem", ["cheb-4", "MLP", "one at a time"])
def test_the_gradient_of_the_penalty_by_finite_differences(
    problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem == "cheb-4":
        objective, theta = cheb(), cheb().network.initialize(0)
    else:
        objective, theta = small_problem("cross_entropy")
    if problem == "one at a time":
        monkeypatch.setattr(penalties, "COPIES", 2**40)
    stream = torch.Generator().manual_seed(0)
    weights = torch.rand(len(theta), generator=stream, dtype=torch.float64)

    def penalty(parameters: Tensor) -> float:
        each = [objective.batch(torch.tensor([row])) for row in range(objective.examples)]
        squares = [part.evaluate(parameters).gradient.square() for part in each]
        return (weights @ torch.stack(squares).mean(0)).item()

    found = penalty_gradient(objective, theta, weights)
    for _ in range(3):
        way = torch.randn(len(theta), generator=stream, dtype=torch.float64)
        step = 1e-5
        slope = (penalty(theta + step * way) - penalty(theta - step * way)) / (2 * step)
        assert slope == pytest.approx((found @ way).item(), rel=1e-6)
    fisher = diagonal_fisher(objective, theta)
    assert (weights @ fisher).item() == pytest.approx(penalty(theta), rel=1e-10)


def test_a_step_of_tracer_is_that_of_its_formula() -> None:
    objective, theta = linear(7, 1)
    x, y = objective.inputs, objective.targets[:, 0]
    optimizer = SGDTracer(learning_rate=0.1, rho=0.3, fisher_rate=0.25, damping=0.05)
    steps = steps_of(objective, optimizer, theta, 3)
    mean = None
    for step in steps:
        residuals = x @ theta - y
        each = residuals[:, None] * x  # [n, P], and 𝓗_n = x_n x_nᵀ
        fisher = each.square().mean(0)
        mean = fisher if mean is None else 0.75 * mean + 0.25 * fisher
        weights = 1 / (mean + 0.05)
        penalty = 2 * ((each * weights * x).sum(1)[:, None] * x).mean(0)
        theta = theta - 0.1 * (each.mean(0) + 0.3 * penalty)
        torch.testing.assert_close(step.theta, theta, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(step.state["fisher"], mean, rtol=1e-11, atol=1e-13)


def test_sam_on_a_quadratic_is_stable_up_to_its_own_edge() -> None:
    """Along q₁ with ‖g‖ held: a step multiplies by 1 − η(λ + ρλ²/‖g‖), which is −1 at the edge."""
    for rho, norm in ((0.1, 0.5), (0.01, 3.0), (1.0, 0.02)):
        optimizer = SAM(learning_rate=0.2, rho=rho)
        edge = optimizer.edge(norm) / 0.2
        assert 0.2 * (edge + rho * edge**2 / norm) == pytest.approx(2, rel=1e-12)
        formula = norm / (2 * rho) * (math.sqrt(1 + 8 * rho / (0.2 * norm)) - 1)
        assert edge == pytest.approx(formula, rel=1e-10)
        # One dimension, 𝓛 = ½λθ²: at ‖g‖ = λ|θ| the step leads to −θ.
        network = ModuleNetwork(nn.Linear(1, 1, bias=False), (1,), glorot_uniform)
        network.initialize(0)
        inputs = torch.tensor([[math.sqrt(edge)]], dtype=torch.float64)
        objective = ModuleObjective(network, "half_squared_error", inputs, torch.zeros_like(inputs))
        theta = torch.tensor([norm / edge], dtype=torch.float64)
        (step,) = steps_of(objective, optimizer, theta, 1)
        assert step.theta.item() == pytest.approx(-theta.item(), rel=1e-9)
    assert SAM(learning_rate=0.2, rho=0.0).edge(0.3) == pytest.approx(2)
    assert SAM(learning_rate=0.2, rho=0.0).edge(0.0) == pytest.approx(2)
    assert SAM(learning_rate=0.2, rho=0.1).edge() == pytest.approx(2)
    assert SAM(learning_rate=0.2, rho=0.1).edge(0.0) == 0
    # With momentum the curvature along g meets (2 + 2μ)/η.
    edge = SAM(learning_rate=0.2, rho=0.1, momentum=0.6).edge(0.4) / 0.2
    assert 0.2 * (edge + 0.1 * edge**2 / 0.4) == pytest.approx(3.2)
    assert SGDTracer(learning_rate=0.2, rho=0.1).edge() is None
