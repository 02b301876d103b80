"""The five factors of any chain against dense Jacobians, and what is no chain."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import dense_links
from torch import Tensor, nn

import eosflow
from eosflow.measurements import chain as chains
from eosflow.measurements.chain import chain_factors
from eosflow.measurements.decomposition import ChainFactors
from eosflow.measurements.factors import decompose
from eosflow.networks import NETWORKS
from eosflow.networks.activations import ACTIVATIONS
from eosflow.networks.chain import Chain, as_module
from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.networks.perceptron import MLP
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.storage.errors import UserError

EXAMPLES = 5


class Block(nn.Module):
    """x ↦ φ(shortcut(x) + norm(conv(φ(conv(x)))))."""

    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(into, out, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(2, out)
        same = into == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(into, out, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.norm(self.second(torch.tanh(self.first(x))))


class Branches(nn.Module):
    """Two ways that meet again, in a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.left, self.right = nn.Linear(5, 4), nn.Linear(5, 4, bias=False)
        self.scale = nn.Parameter(torch.ones(4))
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        h = self.scale * torch.sigmoid(self.left(h)) * self.right(h).view(h.size(0), -1)
        return self.last(h)


def linear(into: int, out: int = 3) -> list[nn.Module]:
    return [nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(into, out))]


# Links as they are meant, and the shape of an input. The module is made of them.
CHAINS: dict[str, tuple[list[nn.Module], tuple[int, ...]]] = {
    "strided, padded, grouped, dilated": (
        [
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 6, (3, 2), padding=(1, 0), groups=2)),
            nn.Sequential(
                nn.GELU(),
                nn.Conv2d(6, 2, 2, padding=2, dilation=2, padding_mode="circular", bias=False),
            ),
            nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)),
        ],
        (2, 7, 8),
    ),
    "one dimension, normalised": (
        [
            nn.Conv1d(3, 4, 3, padding="same"),
            nn.GroupNorm(2, 4),
            *linear(24),
        ],
        (3, 6),
    ),
    "three dimensions": ([nn.Conv3d(1, 2, 2, stride=2), *linear(8)], (1, 4, 4, 2)),
    "residual blocks": (
        [
            nn.Conv2d(1, 2, 3, padding=1),
            Block(2, 2),
            nn.Sequential(nn.ReLU(), Block(2, 4, stride=2)),
            nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        ],
        (1, 6, 5),
    ),
    "a sequence, with shared weights": ([nn.Linear(4, 3), nn.LayerNorm(3), *linear(15)], (5, 4)),
    "one hidden layer and a softmax": (
        [nn.Linear(4, 5), nn.Sequential(nn.SiLU(), nn.Linear(5, 3)), nn.Softmax(1)],
        (4,),
    ),
    "transposed": ([nn.ConvTranspose2d(1, 2, 2, stride=2), *linear(96)], (1, 3, 4)),
}


def problem_of(links: list[nn.Module], shape: tuple[int, ...]) -> tuple[eosflow.Problem, Tensor]:
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, *shape, generator=stream, dtype=torch.float64)
    labels = torch.randint(0, 3, (EXAMPLES,), generator=stream)
    module = nn.Sequential(*links).double()
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
            parameter.copy_(0.5 * noise + (parameter == 1))  # scales of norms stay near 1
    return eosflow.Problem(module, "cross_entropy", (inputs, labels)), inputs


def softmax_hessian(z: Tensor) -> Tensor:
    p = z.softmax(0)
    return torch.diag(p) - p.outer(p)


CASES = [(name, "whole") for name in CHAINS] + [("one dimension, normalised", "single")]


def factors_of(problem: eosflow.Problem) -> dict[str, float]:
    chain = Chain(problem.network, problem.theta, problem.objective.inputs[:1])
    return chain_factors(chain, problem.objective, problem.theta)


@pytest.mark.parametrize(("name", "workspace"), CASES)
def test_every_factor_equals_its_dense_reference(
    name: str, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workspace != "whole":
        monkeypatch.setattr(chains, "WORKSPACE_BYTES", 1)
    monkeypatch.setattr(chains, "JACOBIAN_TOLERANCE", 1e-9)
    links, shape = CHAINS[name]
    problem, inputs = problem_of(links, shape)
    found = factors_of(problem)
    expected = dense_links(links, inputs, softmax_hessian)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-8), key
    assert set(found) == {*expected, "residual_jacobian"}
    check_identities(found, len(links))


def check_identities(record: dict[str, float], count: int) -> None:
    product = 1.0
    for at in range(count, 0, -1):
        if at < count:
            product *= record[f"alignment_{at}"] * record[f"jacobian_norm2_{at}"]
        if f"layer_norm2_{at}" not in record:
            continue
        factors = [
            record[f"activation_ratio_{at}"],
            record[f"activation_norm2_{at}"],
            record["criterion_norm2"],
            product,
        ]
        assert math.prod(factors) == pytest.approx(record[f"layer_norm2_{at}"], rel=1e-12)
        split = record[f"activation_covariance_{at}"] * record[f"weight_sharing_{at}"]
        assert split == pytest.approx(record[f"activation_ratio_{at}"], rel=1e-12)
        assert 0 < record[f"weight_sharing_{at}"] <= 1 + 1e-12
    layers = [record[f"layer_norm2_{at}"] for at in range(1, count + 1)
              if f"layer_norm2_{at}" in record]  # fmt: skip
    assert max(layers) * (1 - 1e-12) <= record["m_norm2"] <= sum(layers) * (1 + 1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_equals_its_closed_form(activation: str) -> None:
    both_ways((5, 6, 7, 6, 4), activation, rel=1e-10)


def test_a_wide_mlp_equals_its_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms of Jacobians that are iterated for, not solved."""
    monkeypatch.setattr(chains, "JACOBIAN_TOLERANCE", 1e-7)
    monkeypatch.setattr("eosflow.measurements.factors.JACOBIAN_TOLERANCE", 1e-7)
    both_ways((9, 70, 66, 4), "tanh", rel=1e-10)


def both_ways(widths: tuple[int, ...], activation: str, rel: float) -> None:
    stream = torch.Generator().manual_seed(0)
    network = MLP(widths, activation)
    inputs = torch.randn(11, widths[0], generator=stream, dtype=torch.float64)
    labels = torch.randint(0, widths[-1], (11,), generator=stream)
    theta = network.initialize(0)
    theta += 0.1 * torch.randn(len(theta), generator=stream, dtype=torch.float64)
    closed = decompose(MLPObjective(network, "cross_entropy", inputs, labels), theta)
    module = as_module(network)
    objective = ModuleObjective(module, "cross_entropy", inputs, labels)
    generic = chain_factors(Chain(module, theta, inputs[:1]), objective, theta)
    shared = set(closed) & set(generic) - {"residual_jacobian"}
    assert len(shared) == 3 + 4 * (len(widths) - 1) + 2 * (len(widths) - 2)
    for name in shared:
        assert generic[name] == pytest.approx(closed[name], rel=rel), name
    sharing = [generic[f"weight_sharing_{at}"] for at in range(1, len(widths))]
    assert sharing == pytest.approx([1.0] * len(sharing), rel=1e-12)
    measured = ChainFactors().measure(
        MLPObjective(network, "cross_entropy", inputs, labels), theta, 0, 0
    )
    assert measured == generic


def test_jacobians_by_iteration_equal_those_by_svd(monkeypatch: pytest.MonkeyPatch) -> None:
    links, shape = CHAINS["residual blocks"]
    monkeypatch.setattr(chains, "EXACT_GRAM_ROWS", 1)
    problem, inputs = problem_of(links, shape)
    expected = dense_links(links, inputs, softmax_hessian)
    found = factors_of(problem)
    assert 0 < found["residual_jacobian"] <= chains.JACOBIAN_TOLERANCE
    for key in ("jacobian_norm2_1", "jacobian_norm2_3", "activation_norm2_2"):
        assert found[key] == pytest.approx(expected[key], rel=1e-4), key
        assert found[key] <= expected[key] * (1 + 1e-12)  # Ritz values come from below
    monkeypatch.setattr(chains, "JACOBIAN_STEPS", 1)
    assert factors_of(problem)["residual_jacobian"] > chains.JACOBIAN_TOLERANCE


def test_links_are_found_in_a_forward_of_ones_own() -> None:
    torch.manual_seed(0)
    data = torch.randn(4, 6), torch.randint(3, (4,))
    found = eosflow.decompose(eosflow.Problem(Branches(), "cross_entropy", data))
    assert not found.no_chain and found["converged"]
    assert list(found.links["link"]) == ["first", "left", "last"]
    assert list(found.links["parameters"]) == [35, 24 + 20 + 4, 15]
    check_identities(found, 3)
    product = found.links["cumulative_alignment"]
    assert product.iloc[0] == pytest.approx(found["alignment_product"])
    assert product.iloc[-1] == 1


@pytest.mark.parametrize(("name", "count"), [("cnn", 6), ("resnet", 5), ("mlp", 6)])
def test_the_networks_of_the_registry_are_chains(name: str, count: int) -> None:
    few = {"cnn": {"channels": 1, "dense": 3}, "resnet": {"blocks": 1, "channels": 1}}
    network = NETWORKS[name](**few.get(name, {"width": 4})).build((1, 10, 11), 3)
    theta = network.initialize(0)
    module = as_module(network) if isinstance(network, MLP) else network
    assert isinstance(module, ModuleNetwork)
    chain = Chain(module, theta, torch.ones(1, 110, dtype=torch.float64))
    assert len(chain.links) == count
    assert sum(link.parameters for link in chain.links) == network.parameters


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Steps(nn.Module):
    """As many layers as the input has rows: a loop that no tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(len(x.shape)):
            x = torch.tanh(self.layer(x))
        return x[:, :3]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Tied(), "the links first and second share the parameter first.weight"),
        (Steps(), r"its forward cannot be traced \(.*torch.nn.Sequential of layers"),
    ],
)
def test_what_is_no_chain_has_all_but_the_factors(module: nn.Module, words: str) -> None:
    data = torch.randn(6, 4), torch.randint(3, (6,))
    found = eosflow.decompose(eosflow.Problem(module, "cross_entropy", data))
    assert found["converged"]
    assert 1 / 6 <= found["overlap"] <= 1
    norms = found.groups["layer_norm2"]
    assert norms.max() <= found["m_norm2"] <= norms.sum()
    assert found.links.empty
    with pytest.raises(KeyError, match=words):
        found["alignment_product"]
    network = ModuleNetwork(module.double(), (4,), glorot_uniform)
    theta = network.initialize(0)
    with pytest.raises(UserError, match=words):
        Chain(network, theta, torch.ones(1, 4, dtype=torch.float64))


def test_a_search_that_ends_at_a_neighbour_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ‖D‖² with two near singular values, from a first start without the larger one."""
    few, stream = 80, torch.Generator().manual_seed(0)
    scales = torch.linspace(0.1, 0.9, few, dtype=torch.float64)
    scales[0], scales[2] = 1.0, 0.997
    start = chains.random_start(few, 1, scales)
    basis = torch.linalg.qr(torch.cat([start, torch.eye(few).double()], 1)).Q
    rest = torch.cat([basis[:, :1], basis[:, 2:]], 1)
    mixed = torch.linalg.qr(torch.randn(few - 1, few - 1, generator=stream).double()).Q
    vectors = torch.cat([basis[:, 1:2], rest @ mixed], 1)

    class Symmetric(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter((vectors * scales) @ vectors.T)

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    module = nn.Sequential(nn.Linear(few, few), Symmetric(), nn.Linear(few, 2)).double()
    network = ModuleNetwork(module, (few,), glorot_uniform)
    theta = network.flatten(dict(module.named_parameters())).detach()
    inputs, targets = torch.ones(2, few).double(), torch.ones(2, 2).double()
    objective = ModuleObjective(network, "squared_error", inputs, targets)
    chain = Chain(network, theta, inputs[:1])
    assert chain_factors(chain, objective, theta)["jacobian_norm2_1"] == pytest.approx(1, rel=1e-5)
    monkeypatch.setattr(chains, "STARTS", 1)
    neighbour = chain_factors(chain, objective, theta)["jacobian_norm2_1"]
    assert neighbour == pytest.approx(0.997**2, rel=1e-5)
