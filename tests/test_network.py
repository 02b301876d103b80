"""The network's parameters, initialisation and forward pass."""

from __future__ import annotations

import math
import sys
from typing import get_args

import pytest
import torch
from oracles import reference_outputs
from problems import assert_derivatives, network_problem, small_network, small_problem

from eosflow.networks import NETWORKS
from eosflow.networks.activations import ACTIVATIONS
from eosflow.networks.base import NetworkSettings
from eosflow.networks.bert import BERTSettings
from eosflow.networks.cnn import CNNSettings
from eosflow.networks.lstm import LSTMSettings
from eosflow.networks.mlp import Activation, MLPSettings
from eosflow.networks.module import ACTIVATION_MODULES
from eosflow.networks.perceptron import MLP
from eosflow.networks.vit import ViTSettings
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError


def test_outputs_equal_per_example_reference() -> None:
    objective, theta = small_problem("cross_entropy")
    outputs = objective.network.outputs(theta, objective.inputs)
    expected = [reference_outputs(objective.network, theta, x) for x in objective.inputs]
    torch.testing.assert_close(outputs, torch.stack(expected), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives_equal_autograd(name: str) -> None:
    """Also at 0, where ReLU has the derivative 0, and far out, where exponentials overflow."""
    activation, module = ACTIVATIONS[name], ACTIVATION_MODULES[name]()
    grid = torch.linspace(-4, 4, 1001, dtype=torch.float64)
    far = torch.tensor([-700.0, -40.0, -15.0, 0.0, 15.0, 40.0, 700.0], dtype=torch.float64)
    z = torch.cat([grid, far]).requires_grad_()
    value = module(z)
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum() + 0 * z.sum(), z)
    z = z.detach()
    torch.testing.assert_close(activation.value_(z.clone()), value.detach())
    slope = activation.slope(z, torch.empty_like(z))
    torch.testing.assert_close(slope, first.detach())
    second_order = activation.second_order(z, torch.empty_like(z))
    together = z.clone(), torch.empty_like(z), torch.empty_like(z)
    activation.all_(*together)
    alone = activation.value_(z.clone()), slope, second_order
    assert all(map(torch.equal, together, alone))
    if name == "elu":  # at 0 ours is the derivative from the left, torch's that from the right
        second_order[z == 0] = 0
    torch.testing.assert_close(second_order * slope if activation.ratio else second_order, second)


def test_the_names_of_activations_are_one_list() -> None:
    assert list(get_args(Activation)) == list(ACTIVATIONS) == list(ACTIVATION_MODULES)


def test_initial_weights_are_xavier_normal_and_biases_zero() -> None:
    network = MLP((300, 200, 10))
    (first, bias), (second, _) = network.layers(network.initialize(seed=3))
    assert first.std().item() == pytest.approx(math.sqrt(2) * math.sqrt(2 / 500), rel=0.02)
    assert second.std().item() == pytest.approx(math.sqrt(2) * math.sqrt(2 / 210), rel=0.05)
    # Normal, not uniform: the kurtosis is 3, not 1.8.
    kurtosis = ((first - first.mean()) / first.std()).pow(4).mean().item()
    assert kurtosis == pytest.approx(3, abs=0.1)
    assert not bias.any()


def test_purposes_have_streams_of_their_own() -> None:
    draws = [torch.rand(4, generator=generator(0, p)) for p in ("initialisation", "probes")]
    assert not torch.equal(*draws)


@pytest.mark.registry
@pytest.mark.parametrize("name", NETWORKS)
def test_settings_count_what_the_network_has_and_the_seed_sets_it(name: str) -> None:
    settings, shape = small_network(name)
    before = torch.random.get_rng_state()
    network = settings.build(shape, 7)
    theta = network.initialize(0)
    assert torch.equal(torch.random.get_rng_state(), before)  # nothing that others may see
    assert network.parameters == len(theta) == settings.parameters(shape, 7)
    assert theta.dtype == torch.float64
    assert torch.equal(theta, settings.build(shape, 7).initialize(0))
    assert not (theta.any() and torch.equal(theta, network.initialize(1)))
    inputs = torch.rand(3, math.prod(shape), dtype=torch.float64)
    assert network.outputs(theta, inputs).shape == (3, 7)
    named = network.named(theta)
    assert torch.equal(network.flatten(named), theta)
    assert settings.describe() and settings.why_not(shape) == ""


@pytest.mark.registry
@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_are_those_of_backward_through_backward(name: str) -> None:
    assert_derivatives(*network_problem(name))


@pytest.mark.registry
@pytest.mark.parametrize("name", [n for n, kind in NETWORKS.items() if kind.example().packages()])
def test_a_package_that_is_not_installed_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, shape = small_network(name)
    for package, extra in settings.packages().items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            UserError, match=rf"{name} .* {package}.*pip install 'eosflow\[{extra}\]'"
        ):
            settings.build(shape, 2)


def test_the_cnn_is_that_of_its_source() -> None:
    assert NETWORKS["cnn"]().parameters((3, 32, 32), 10) == 361_898


@pytest.mark.parametrize(
    ("settings", "shape", "words"),
    [
        (CNNSettings(), (256,), "reads images (channels, height, width). Take network: mlp"),
        (CNNSettings(), (3, 8, 8), "8 × 8, and this network needs 10 × 10"),
        (CNNSettings(), (3, 32, 32), ""),
        (LSTMSettings(), (3, 32, 32), "reads sequences of vectors (positions, numbers). Take"),
        (LSTMSettings(), (20, 768), ""),
        (ViTSettings(), (3, 30, 32), "30 × 32, which patches of 4 × 4 do not cover"),
        (ViTSettings(heads=5), (3, 32, 32), "5 heads cannot share a width of 64"),
        (ViTSettings(patch=64), (3, 32, 32), "this network needs 64 × 64"),
        (BERTSettings(positions=9), (3, 9), ""),
        (BERTSettings(), (3, 32, 32), "reads token ids"),
        (BERTSettings(positions=9), (3, 10), "has 10 positions, and networks.bert.positions is 9"),
        (BERTSettings(width=8, heads=3), (3, 9), "no multiple of heads 3"),
        (MLPSettings(), (256,), ""),
    ],
)
def test_inputs_that_a_network_cannot_read(
    settings: NetworkSettings, shape: tuple[int, ...], words: str
) -> None:
    why_not = settings.why_not(shape)
    assert words in why_not if words else why_not == ""
