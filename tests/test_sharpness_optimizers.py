"""SAM, TRACER, SWA, the penalty on the trace, noise: on quadratics, by differences, dense."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from problems import small_problem
from scipy import stats
from torch import Tensor, nn
from torch.func import hessian, jacrev
from walks import steps_of, walked

import eosflow
from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers import penalties
from eosflow.optimizers.batches import Batches, FullBatch, Shuffled
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.penalties import diagonal_fisher, penalty_gradient, trace_and_gradient
from eosflow.optimizers.sharpness import SAM, SWA, SGDTracer, SharpestNoise, TracePenalty
from eosflow.optimizers.subspace import NudgedSGD
from eosflow.storage.errors import UserError
from eosflow.studies.testbeds import cheb, quadratic


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
    ("plugin", "neutral", "settings"),
    [
        (SAM, {"rho": 0}, {"momentum": 0.9, "nesterov": True, "clip_norm": 0.1}),
        (SGDTracer, {"rho": 0}, {"momentum": 0.5, "weight_decay": 0.02}),
        (TracePenalty, {"rho": 0}, CLIPPED),
        (SharpestNoise, {"noise": 0}, CLIPPED),
        (NudgedSGD, {"gamma": 1}, CLIPPED),
        (NudgedSGD, {"gamma": 1}, {"warmup_steps": 5, "weight_decay": 0.02}),
    ],
)
def test_without_a_radius_weight_or_noise_it_is_the_base_step_for_step(
    plugin: type[GradientOptimizer], neutral: dict[str, Any], settings: dict[str, Any]
) -> None:
    objective, theta = cheb(), cheb().network.initialize(0)
    ours = steps_of(objective, plugin(learning_rate=0.05, **neutral, **settings), theta, 6)
    theirs = steps_of(objective, GradientDescent(learning_rate=0.05, **settings), theta, 6)
    # To the bit, but for an optimizer of subspaces, which adds its step up in another order.
    close: dict[type, tuple[float, float]] = {
        SharpestNoise: (1e-12, 1e-14),
        NudgedSGD: (1e-12, 1e-13),
    }
    rtol, atol = close.get(plugin, (0, 0))
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


@pytest.mark.parametrize("batches", [FullBatch(), Shuffled(size=4)], ids=lambda item: item.name)
def test_swa_is_gradient_descent_and_then_the_mean_of_its_weights(batches: Batches) -> None:
    objective, theta = small_problem("cross_entropy")
    shared = {"learning_rate": 0.2, "momentum": 0.5, "weight_decay": 0.02, "clip_norm": 0.3}
    plain, _ = walked(objective, GradientDescent(**shared), theta, 12, batches)
    swa = SWA(average_after=5, **shared)
    found, _ = walked(objective, swa, theta, 12, batches)
    for number, train_state in enumerate(found):
        assert torch.equal(train_state.optimizer["weights"], plain[number].theta)
        kept = plain[6 : number + 1] or [plain[number]]
        mean = torch.stack([each.theta for each in kept]).mean(0)
        torch.testing.assert_close(train_state.theta, mean, rtol=1e-12, atol=1e-14)


def tanh_module() -> tuple[ModuleObjective, Tensor]:
    """Softmax regression behind a tanh layer: 4·3 + 3 + 3·3 + 3 parameters."""
    stream = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    network = ModuleNetwork(module, (4,), glorot_uniform)
    inputs = torch.randn(9, 4, generator=stream, dtype=torch.float64)
    labels = torch.randint(0, 3, (9,), generator=stream)
    return ModuleObjective(network, "cross_entropy", inputs, labels), network.initialize(0)


def dense_trace(objective: ModuleObjective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Tr 𝓗 and its gradient, by autograd of the whole matrix, of a network written anew."""

    def loss(flat: Tensor) -> Tensor:
        first, bias, second, last = torch.split(flat, [12, 3, 9, 3])
        hidden = torch.tanh(objective.inputs @ first.view(3, 4).T + bias)
        return nn.functional.cross_entropy(hidden @ second.view(3, 3).T + last, objective.targets)

    def trace(parameters: Tensor) -> Tensor:
        return torch.trace(hessian(loss)(parameters))

    return trace(theta), jacrev(trace)(theta)


def test_over_the_axes_the_estimate_is_the_dense_trace_and_its_gradient() -> None:
    objective, theta = tanh_module()
    size = len(theta)
    found, gradient = trace_and_gradient(objective, theta, torch.eye(size).to(theta))
    trace, slope = dense_trace(objective, theta)
    torch.testing.assert_close(found * size, trace, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(gradient * size, slope, rtol=1e-9, atol=1e-11)
    objective.weight_decay = 0.3  # 𝓗 + 0.3 I
    decayed, same = trace_and_gradient(objective, theta, torch.eye(size).to(theta))
    torch.testing.assert_close(decayed * size, trace + 0.3 * size, rtol=1e-11, atol=1e-12)
    assert torch.equal(same, gradient)


def test_a_step_of_the_penalty_and_the_trace_that_it_tells() -> None:
    """In the mean over many steps from one place, that of the dense gradient; λθ is not in it."""
    objective, theta = tanh_module()
    trace, slope = dense_trace(objective, theta)
    optimizer = TracePenalty(learning_rate=0.1, rho=0.05, probes=2)
    evaluation, state = objective.evaluate(theta), dict(optimizer.init(objective, theta, 0))
    steps = [optimizer.step(evaluation, {**state, "steps": number}) for number in range(200)]
    traces = torch.tensor([step.facts["trace"] for step in steps], dtype=torch.float64)
    assert len({round(each, 12) for each in traces.tolist()}) > 150  # fresh probes in every step
    assert abs(traces.mean() - trace) < 4 * traces.std() / math.sqrt(200)
    ways = torch.stack([(theta - step.theta) / 0.1 - evaluation.gradient for step in steps]) / 0.05
    assert ((ways.mean(0) - slope).abs() < 5 * ways.std(0) / math.sqrt(200) + 1e-12).all()


class PlainNorm(nn.Module):
    """nn.LayerNorm by plain operations."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


def of_layers(activation: nn.Module, norm: nn.Module) -> eosflow.Problem:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), norm, activation, nn.Linear(6, 3))
    return eosflow.Problem(module, "cross_entropy", (torch.randn(12, 4), torch.arange(12) % 3))


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()], ids=["tanh", "relu"])
def test_a_network_whose_third_derivatives_are_wrong_is_refused(activation: nn.Module) -> None:
    optimizer = TracePenalty(learning_rate=0.1, rho=0.01)
    for norm in (nn.Identity(), PlainNorm()):
        eosflow.follow(of_layers(activation, norm), optimizer, steps=2)
    with pytest.raises(UserError, match="third derivatives of this network are wrong"):
        eosflow.follow(of_layers(activation, nn.LayerNorm(6)), optimizer, steps=2)
    flat, theta = quadratic((3.0, 1.0, 0.5, 0.2)), torch.ones(4, dtype=torch.float64)
    assert optimizer.init(flat, theta, 0)["steps"] == 0  # where there is no third derivative at all
    without = TracePenalty(learning_rate=0.1, rho=0.0)
    eosflow.follow(of_layers(activation, nn.LayerNorm(6)), without, steps=2)


def test_the_noise_lies_along_q1_and_is_standard_normal() -> None:
    """On a quadratic the gradient beside θ is more by sξλ₁q₁, exactly."""
    objective, theta = quadratic((3.0, 1.0, 0.2)), torch.ones(3, dtype=torch.float64)
    optimizer = SharpestNoise(learning_rate=0.1, noise=0.5, every=1, eigen_tolerance=1e-12)
    evaluation, state = objective.evaluate(theta), dict(optimizer.init(objective, theta, 7))
    drawn = []
    for number in range(150):
        step = optimizer.step(evaluation, {**state, "steps": number, "wait": 0})
        assert step is not None
        more = (theta - step.theta) / 0.1 - evaluation.gradient
        assert more[1:].abs().max() < 1e-9  # q₁ is the first axis
        sign = math.copysign(1.0, step.state["basis"][0, 0])
        drawn.append(sign * more[0].item() / (0.5 * 3.0))
    assert stats.kstest(drawn, "norm").pvalue > 0.01
