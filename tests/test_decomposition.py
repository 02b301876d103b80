"""Every factor of the sharpness against dense Jacobians, the Gram form, identities and bounds."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from oracles import (
    dense_gauss_newton,
    dense_hessian,
    dense_links,
    reference_value,
)
from problems import CRITERIA, DIMENSIONS, WORKSPACES, small_problem
from torch import Tensor, nn
from torch.func import hessian
from torch.nn import functional

from eosflow.measurements import factors
from eosflow.measurements.factors import decompose, squared_jacobian_norms
from eosflow.objectives.base import Evaluation
from eosflow.objectives.criteria import LOSSES, square_root
from eosflow.objectives.mlp import MLPObjective

DEPTH = len(DIMENSIONS) - 1
every_criterion = pytest.mark.parametrize("criterion", CRITERIA)


@pytest.fixture(autouse=True)
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimators stop at residuals far below the differences that the oracles look for."""
    monkeypatch.setattr(factors, "SHARPNESS_TOLERANCE", 1e-8)
    monkeypatch.setattr(factors, "RESIDUAL_TOLERANCE", 1e-8)


def top(symmetric: Tensor) -> float:
    return torch.linalg.eigvalsh(symmetric)[-1].item()


def squared_norms(matrices: Tensor) -> Tensor:
    """Squared operator norms of a batch, by SVD."""
    return torch.linalg.svdvals(matrices)[:, 0] ** 2


def dense_factors(objective: MLPObjective, criterion: str, theta: Tensor) -> dict[str, float]:
    """The record's quantities from per-example Jacobians and SVDs, and the growth of the states."""
    links: list[nn.Module] = []
    states = [objective.inputs]
    for weight, bias in objective.network.layers(theta):
        linear = nn.Linear(weight.shape[1], len(bias), dtype=torch.float64)
        linear.load_state_dict({"weight": weight, "bias": bias})
        links.append(nn.Sequential(nn.ELU(), linear) if links else linear)
        states.append(links[-1](states[-1]).detach())

    def hessian_of(z: Tensor) -> Tensor:  # no criterion's depends on the label
        return hessian(lambda z: reference_value(criterion, z, torch.tensor(0)))(z)

    record = dense_links(links, objective.inputs, hessian_of)
    squares = [states[0].square().sum(1), *(functional.elu(z).square().sum(1) for z in states[1:])]
    for number in range(1, DEPTH):
        growth = squares[number] / squares[number - 1]
        record[f"activation_growth_{number}"] = growth.mean().item()
    chains = ("activation_covariance", "weight_sharing")
    return {name: value for name, value in record.items() if not name.startswith(chains)}


@every_criterion
@pytest.mark.parametrize("case", [*WORKSPACES, "fewer examples than input dimensions"])
def test_every_number_equals_its_dense_reference(
    criterion: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factors, "WORKSPACE_BYTES", {"ragged": 8 * 121 * 7 * 5}.get(case, 2**28))
    objective, theta = small_problem(criterion, workspace=case if case in WORKSPACES else "single")
    if case not in WORKSPACES:
        inputs, targets = objective.inputs[:3], objective.targets[:3]
        objective = MLPObjective(objective.network, criterion, inputs, targets)
    record = decompose(objective, theta)
    for name, expected in dense_factors(objective, criterion, theta).items():
        assert record[name] == pytest.approx(expected, rel=1e-7), name
    matrix = dense_hessian(objective, criterion, theta)
    gauss_newton = dense_gauss_newton(objective, criterion, theta)
    assert record["sharpness_hessian"] == pytest.approx(top(matrix), rel=1e-9)
    assert record["sharpness_gauss_newton"] == pytest.approx(top(gauss_newton), rel=1e-9)
    assert record["sharpness_residual"] == pytest.approx(top(matrix - gauss_newton), rel=1e-9)
    assert record["converged"]
    # E5 and the bounds of the overlap ratio; E8: a norm of blocks is at most the sum of theirs.
    product = record["m_norm2"] * record["overlap"]
    assert product == pytest.approx(record["sharpness_gauss_newton"], rel=1e-10)
    assert 1 / objective.examples <= record["overlap"] <= 1
    layers = [record[f"layer_norm2_{number}"] for number in range(1, DEPTH + 1)]
    assert max(layers) <= record["m_norm2"] <= sum(layers)
    smallest = torch.linalg.eigvalsh(matrix - gauss_newton)[0].item()
    assert smallest < 0
    assert record["smallest_eigenvalue_residual"] == pytest.approx(smallest, rel=1e-5)
    assert record["residual_smallest"] < 1e-2
    assert torch.linalg.eigvalsh(matrix)[0].item() >= smallest * (1 + 1e-9)  # Weyl


def test_weight_decay_acts_outside_the_span_of_few_inputs_too() -> None:
    whole, theta = small_problem("cross_entropy")
    few = whole.batch(torch.arange(3))
    plain = decompose(few, theta)["sharpness_hessian"]
    few.weight_decay = 0.2
    again = few.batch(torch.arange(3))
    assert decompose(again, theta)["sharpness_hessian"] == pytest.approx(plain + 0.2, rel=1e-7)


@every_criterion
def test_gauss_newton_sharpness_equals_the_gram_form(criterion: str) -> None:
    # E9: the same eigenvalues from an (NC × NC)/N matrix of activations and backward matrices.
    objective, theta = small_problem(criterion)
    network, count = objective.network, objective.examples
    slopes: list[torch.Tensor] = []
    *states, outputs = network.forward(
        theta,
        objective.inputs,
        lambda _, z: slopes.append(torch.where(z > 0, 1.0, torch.exp(z))),
    )
    back = square_root(LOSSES[criterion].hessian(outputs))
    gram = 0.0
    for index in range(DEPTH - 1, -1, -1):
        inner = 1 + states[index] @ states[index].T
        gram = gram + torch.einsum("nm,ncd,med->ncme", inner, back, back)
        if index > 0:
            back = (back @ network.layers(theta)[index][0]) * slopes[index - 1][:, None, :]
    size = count * DIMENSIONS[-1]
    expected = top(gram.reshape(size, size) / count)
    assert decompose(objective, theta)["sharpness_gauss_newton"] == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize("shape", [(90, 80), (80, 90), (70, 20), (3, 70)])
def test_jacobian_norms_equal_singular_values(shape: tuple[int, int]) -> None:
    stream = torch.Generator().manual_seed(2)
    weight = torch.randn(*shape, generator=stream, dtype=torch.float64)
    slopes = torch.rand(11, shape[1], generator=stream, dtype=torch.float64)
    norms, residual = squared_jacobian_norms(weight, slopes)
    expected = squared_norms(weight * slopes[:, None, :])
    assert residual <= factors.JACOBIAN_TOLERANCE
    torch.testing.assert_close(norms, expected, rtol=1e-4, atol=0)
    assert (norms <= expected * (1 + 1e-12)).all()  # Ritz values come from below


def test_a_start_without_the_top_vector_is_found_out() -> None:
    """The top vector of W is an exact one of W diag(s), whatever s, where W is diagonal."""
    diagonal = torch.cat([torch.tensor([1.0, 0.6]), torch.linspace(0.1, 0.5, 78)]).double()
    slopes = torch.ones(1, 80, dtype=torch.float64)
    slopes[0, 0] = 0.59  # one look from W's top vector ends at 0.59²
    norms, residual = squared_jacobian_norms(torch.diag(diagonal), slopes)
    assert norms.tolist() == pytest.approx([0.36], rel=1e-5)
    assert residual <= factors.JACOBIAN_TOLERANCE


def test_an_eigenvector_of_g_that_is_one_of_h_hides_no_larger_one() -> None:
    parts = {"gauss_newton": [1.0, 0.0, 0.0, 0.0], "residual": [0.0, 2.0, -1.0, 0.5]}
    g, r = (torch.tensor(diagonal, dtype=torch.float64) for diagonal in parts.values())

    class Diagonal(Evaluation):
        theta = torch.zeros(4, dtype=torch.float64)
        objective: Any = SimpleNamespace(weight_decay=0.0)

        def _add_product(self, matrix: str, rows: Tensor, result: Tensor) -> None:
            of = {"hessian": g + r, "gauss_newton": g, "residual": r}[matrix]
            result += of.to(rows) * rows

    record = factors.sharpness(Diagonal(), torch.empty(49, 4))
    assert record["sharpness_gauss_newton"] == pytest.approx(1)
    assert record["sharpness_residual"] == pytest.approx(2)
    assert record["sharpness_hessian"] == pytest.approx(2)
    assert record["residual_hessian"] <= factors.SHARPNESS_TOLERANCE


def test_a_jacobian_of_zeros_has_norm_zero() -> None:
    weight = torch.zeros(90, 80, dtype=torch.float64)
    norms, residual = squared_jacobian_norms(weight, torch.ones(4, 80, dtype=torch.float64))
    assert norms.tolist() == [0, 0, 0, 0]
    assert residual == 0
    slopes = torch.ones(2, 80, dtype=torch.float64)
    slopes[0] = 0  # an example whose units are all dead, beside one that is not
    norms, residual = squared_jacobian_norms(weight + torch.eye(90, 80).double(), slopes)
    assert norms.tolist() == pytest.approx([0, 1])
    assert residual <= factors.JACOBIAN_TOLERANCE


def test_where_float32_is_too_coarse_float64_goes_on() -> None:
    diagonal = torch.linspace(0, 10, 300, dtype=torch.float64)
    precisions = []

    def product(block: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        precisions.append(block.dtype)
        coarse = 0.01 * block.roll(1, 0) if block.dtype == torch.float32 else 0
        return out.copy_(block * diagonal.to(block.dtype)[:, None] + coarse)

    start = torch.ones(300, 1, dtype=torch.float64)
    pairs, _ = factors._top_pair(product, start, factors.SHARPNESS_TOLERANCE, torch.empty(20, 300))
    assert pairs.converged
    assert pairs.relative_residual <= factors.SHARPNESS_TOLERANCE
    assert pairs.values.item() == pytest.approx(10, rel=1e-8)
    assert precisions[0] == torch.float32
    assert precisions.count(torch.float64) > 1


def test_estimators_that_do_not_converge_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "SHARPNESS_PRODUCTS", 1)
    objective, theta = small_problem("cross_entropy")
    record = decompose(objective, theta)
    assert not record["converged"]
    assert record["residual_residual"] > 1e-8


def test_a_network_without_curvature_gives_numbers() -> None:
    # All parameters zero: every Jacobian but the last layer's is zero.
    objective, theta = small_problem("cross_entropy")
    record = decompose(objective, torch.zeros_like(theta))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["layer_norm2_1"] == 0
    assert record["alignment_product"] == 0


@every_criterion
def test_criteria_equal_their_definitions(criterion: str) -> None:
    objective, theta = small_problem(criterion)
    outputs = objective.network.outputs(theta, objective.inputs)
    loss = LOSSES[criterion]
    values = [
        reference_value(criterion, z, y) for z, y in zip(outputs, objective.targets, strict=True)
    ]
    torch.testing.assert_close(loss.value(outputs, objective.targets), torch.stack(values))
    variable = outputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(variable, objective.targets).sum(), variable)
    torch.testing.assert_close(loss.gradient(outputs, objective.targets), gradient)
    tangents = torch.randn(2, *outputs.shape, dtype=torch.float64)
    expected = torch.einsum("ncd,knd->knc", loss.hessian(outputs), tangents)
    torch.testing.assert_close(loss.hessian_product(outputs, tangents), expected)
