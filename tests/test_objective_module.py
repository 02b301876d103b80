"""Two ways to one loss, in closed form and by automatic differentiation, and others."""

from __future__ import annotations

import math

import pytest
import torch
from problems import close, network_problem
from torch import Tensor, nn
from torch.func import hessian, jacrev

from eosflow import objectives
from eosflow.measurements.factors import decompose
from eosflow.networks.activations import ACTIVATIONS
from eosflow.networks.chain import as_module
from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.networks.perceptron import MLP
from eosflow.objectives.base import Objective
from eosflow.objectives.criteria import LOSSES
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.storage.errors import UserError

WIDTHS = (5, 6, 7, 4)
EXAMPLES = 11
# Everything at once; a few examples at a time with some left over; one at a time.
WORKSPACES = {"whole": 2**28, "ragged": 3 * 8 * 6 * 40, "single": 1}


def both(
    activation: str = "elu",
    criterion: str = "cross_entropy",
    kind: str = "classes",
    workspace: str = "whole",
) -> tuple[MLPObjective, ModuleObjective, Tensor]:
    stream = torch.Generator().manual_seed(0)
    network = MLP(WIDTHS, activation)
    inputs = torch.randn(EXAMPLES, WIDTHS[0], generator=stream, dtype=torch.float64)
    targets = torch.randn(EXAMPLES, WIDTHS[-1], generator=stream, dtype=torch.float64)
    if kind == "classes":
        targets = targets.argmax(1)
    workspace_bytes = WORKSPACES[workspace]
    closed = MLPObjective(network, criterion, inputs, targets, workspace_bytes)
    automatic = ModuleObjective(as_module(network), criterion, inputs, targets, workspace_bytes)
    noise = torch.randn(network.parameters, generator=stream, dtype=torch.float64)
    return closed, automatic, network.initialize(0) + 0.3 * noise


CASES = [
    *((name, "cross_entropy", "classes", "ragged") for name in ACTIVATIONS),
    *(("tanh", name, "classes", "whole") for name in LOSSES if name != "cross_entropy"),
    *(("gelu", name, "numbers", "ragged") for name in LOSSES if name != "cross_entropy"),
    ("elu", "cross_entropy", "classes", "whole"),
    ("silu", "cross_entropy", "classes", "single"),
]


@pytest.mark.parametrize(("activation", "criterion", "kind", "workspace"), CASES)
def test_each_is_the_other(activation: str, criterion: str, kind: str, workspace: str) -> None:
    closed, automatic, theta = both(activation, criterion, kind, workspace)
    one, other = closed.evaluate(theta), automatic.evaluate(theta)
    assert one.loss == pytest.approx(other.loss, rel=1e-13)
    assert one.accuracy == pytest.approx(other.accuracy, nan_ok=True)
    assert math.isnan(one.accuracy) == (kind == "numbers")
    close(one.gradient, other.gradient, 1e-12)
    block = torch.randn(3, len(theta), dtype=torch.float64).T
    for matrix in ("hessian", "gauss_newton", "residual"):
        close(one.product(matrix, block), other.product(matrix, block), 1e-12)
    mine, theirs = (o.per_example_grams(theta, 2, 9) for o in (closed, automatic))
    close(mine.outputs, theirs.outputs, 1e-13)
    # Their largest eigenvalues, which is what they are for: the square root of a zero eigenvalue of
    # H_ℓ, which rounding makes 1e-17, leaves entries good to nine digits only.
    largest = [torch.linalg.eigvalsh(piece.grams)[..., -1] for piece in (mine, theirs)]
    close(*largest, 1e-11)


def test_the_ragged_workspace_is_ragged() -> None:
    _, automatic, theta = both(workspace="ragged")
    sizes = [len(inputs) for inputs, _ in automatic.chunks(theta)]
    assert len(set(sizes)) == 2 and sum(sizes) == EXAMPLES


def test_products_equal_those_of_curvlinops() -> None:
    from curvlinops import GGNLinearOperator, HessianLinearOperator

    closed, automatic, theta = both("tanh")
    network = automatic.network
    module, shape = network.module, network.shape
    with torch.no_grad():
        for parameter, value in zip(
            module.parameters(), network.named(theta).values(), strict=True
        ):
            parameter.copy_(value)
    data = [(automatic.inputs.reshape(-1, *shape), automatic.targets)]
    vector = torch.randn(len(theta), dtype=torch.float64)
    for kind, matrix in ((HessianLinearOperator, "hessian"), (GGNLinearOperator, "gauss_newton")):
        operator = kind(module, nn.CrossEntropyLoss(), list(module.parameters()), data)
        expected = operator @ vector
        for objective in (closed, automatic):
            actual = objective.evaluate(theta).product(matrix, vector[:, None])[:, 0]
            close(actual, expected, 1e-8)


def dense(objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """𝓗 by torch.func.hessian of the loss written out, G from dense Jacobians."""
    network, targets = objective.network, objective.targets
    n = objective.examples

    def value(outputs: Tensor) -> Tensor:
        if objective.criterion.name == "cross_entropy":
            return torch.logsumexp(outputs, 1).sum() - outputs[torch.arange(n), targets].sum()
        return 0.5 * (outputs - targets).square().sum()

    def loss(parameters: Tensor) -> Tensor:
        return value(network.outputs(parameters, objective.inputs)) / n

    outputs = network.outputs(theta, objective.inputs).detach()
    jacobians = jacrev(lambda t: network.outputs(t, objective.inputs))(theta)
    second = hessian(value)(outputs)  # [n, C, n, C]
    gauss_newton = torch.einsum("acp,acbd,bdq->pq", jacobians, second, jacobians) / n
    return hessian(loss)(theta), gauss_newton


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_a_decomposition_of_any_network(name: str) -> None:
    objective, theta = network_problem(name)
    record = decompose(objective, theta)
    full, gauss_newton = dense(objective, theta)
    for which, matrix in (("hessian", full), ("gauss_newton", gauss_newton)):
        largest = torch.linalg.eigvalsh(matrix)[-1].item()
        assert record[f"sharpness_{which}"] == pytest.approx(largest, rel=1e-6)
    network = objective.network
    assert isinstance(network, ModuleNetwork)
    norms, groups = [], []
    for example in objective.inputs:
        jacobian = jacrev(lambda t, x=example: network.outputs(t, x[None])[0])(theta)
        outputs = network.outputs(theta, example[None])[0].detach()
        p = outputs.softmax(0)
        values, vectors = torch.linalg.eigh(torch.diag(p) - p.outer(p))
        m = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T @ jacobian
        norms.append(torch.linalg.matrix_norm(m, 2) ** 2)
        groups.append([torch.linalg.matrix_norm(m[:, g], 2) ** 2 for g in network.groups])
    assert record["m_norm2"] == pytest.approx(torch.stack(norms).mean().item(), rel=1e-9)
    for number, norm in enumerate(torch.tensor(groups).mean(0).tolist(), 1):
        assert record[f"layer_norm2_{number}"] == pytest.approx(norm, rel=1e-6)
    assert record["overlap"] == pytest.approx(record["sharpness_gauss_newton"] / record["m_norm2"])
    assert record["converged"]


@pytest.mark.parametrize("make", [objectives.make, MLPObjective])
def test_numbers_are_no_classes(make: type[MLPObjective]) -> None:
    inputs, targets = torch.ones(3, 5).double(), torch.ones(3, 4).double()
    with pytest.raises(ValueError, match=r"cross_entropy compares classes.*take squared_error"):
        make(MLP(WIDTHS), "cross_entropy", inputs, targets)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm1d(5), r"the layer 0 \(BatchNorm1d\) mixes the examples.*GroupNorm"),
        (nn.Dropout(0.1), r"the layer 0 \(Dropout\) draws random numbers.*set p=0"),
    ],
)
def test_layers_that_have_no_place_are_named(layer: nn.Module, words: str) -> None:
    module = nn.Sequential(layer, nn.Linear(5, 2))
    with pytest.raises(UserError, match=words):
        ModuleNetwork(module, (5,), glorot_uniform)
    module.eval()
    ModuleNetwork(module, (5,), glorot_uniform)


def test_a_batch_is_the_loss_of_its_rows() -> None:
    closed, automatic, theta = both()
    rows = torch.tensor([7, 1, 4])
    one, other = (o.batch(rows).evaluate(theta) for o in (closed, automatic))
    assert one.loss == pytest.approx(other.loss, rel=1e-13)
    close(one.gradient, other.gradient, 1e-12)
    values = [closed.batch(row[None]).evaluate(theta).loss for row in rows]
    assert one.loss == pytest.approx(sum(values) / 3, rel=1e-13)
