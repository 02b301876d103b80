"""The network's parameters, initialisation and forward pass."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import reference_outputs
from problems import small_problem

from eosflow.networks.mlp import ACTIVATIONS, Network
from eosflow.spectra.randomness import generator


def test_outputs_equal_per_example_reference() -> None:
    objective, theta = small_problem("cross_entropy")
    outputs = objective.network.outputs(theta, objective.inputs)
    expected = [reference_outputs(objective.network, theta, x) for x in objective.inputs]
    torch.testing.assert_close(outputs, torch.stack(expected), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives_equal_autograd(name: str) -> None:
    activation = ACTIVATIONS[name]
    z = torch.linspace(-4, 4, 1001, dtype=torch.float64).requires_grad_()
    (first,) = torch.autograd.grad(activation.value_(z.clone()).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    with torch.no_grad():
        derivative = activation.derivative(z, torch.empty_like(z))
        torch.testing.assert_close(derivative, first.detach())
        product = activation.curvature(z, torch.empty_like(z)) * derivative
        torch.testing.assert_close(product, second)


def test_initial_weights_are_xavier_normal_and_biases_zero() -> None:
    network = Network((300, 200, 10))
    (first, bias), (second, _) = network.layers(network.initialize(seed=3, gain=math.sqrt(2)))
    assert first.std().item() == pytest.approx(math.sqrt(2) * math.sqrt(2 / 500), rel=0.02)
    assert second.std().item() == pytest.approx(math.sqrt(2) * math.sqrt(2 / 210), rel=0.05)
    # Normal, not uniform: the kurtosis is 3, not 1.8.
    kurtosis = ((first - first.mean()) / first.std()).pow(4).mean().item()
    assert kurtosis == pytest.approx(3, abs=0.1)
    assert not bias.any()


def test_initialisation_depends_on_the_seed_alone() -> None:
    network = Network((4, 5, 2))
    torch.manual_seed(0)
    first = network.initialize(1, 1.0)
    torch.manual_seed(99)
    assert torch.equal(first, network.initialize(1, 1.0))
    assert not torch.equal(first, network.initialize(2, 1.0))


def test_purposes_have_streams_of_their_own() -> None:
    draws = [torch.rand(4, generator=generator(0, p)) for p in ("initialisation", "probes")]
    assert not torch.equal(*draws)


def test_snapshot_names_round_trip() -> None:
    network = Network((4, 5, 3, 2))
    theta = torch.arange(network.parameters, dtype=torch.float64)
    named = network.named(theta)
    assert named["layer1.weight"].shape == (5, 4)
    assert named["layer3.bias"].shape == (2,)
    assert torch.equal(network.flatten(named), theta)
