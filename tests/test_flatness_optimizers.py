"""SWA, the penalty on the trace and noise along q₁: the mean of a path, and dense oracles."""

from __future__ import annotations

import math

import pytest
import torch
from problems import small_problem
from scipy import stats
from torch import Tensor, nn
from torch.func import hessian, jacrev
from walks import walked

import eosflow
from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers.batches import Batches, FullBatch, Shuffled
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.penalties import trace_and_gradient
from eosflow.optimizers.sharpness import SWA, SharpestNoise, TracePenalty
from eosflow.storage.errors import UserError
from eosflow.studies.testbeds import quadratic


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
