"""Loss, gradient and block products against dense torch.func references and finite differences."""

from __future__ import annotations

import pytest
import torch
from oracles import dense_gauss_newton, dense_hessian, reference_loss
from problems import CRITERIA, WORKSPACES, small_problem

from eosflow.networks.perceptron import MLP
from eosflow.objectives.mlp import MLPObjective

every_criterion = pytest.mark.parametrize("criterion", CRITERIA)
every_workspace = pytest.mark.parametrize("workspace", WORKSPACES)


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * expected.abs().max())


@every_criterion
@every_workspace
@pytest.mark.parametrize("vectors", [1, 3])
def test_loss_gradient_and_products_equal_dense_ones(
    criterion: str, workspace: str, vectors: int
) -> None:
    objective, theta = small_problem(criterion, workspace=workspace)
    evaluation = objective.evaluate(theta)
    variable = theta.clone().requires_grad_()
    loss = reference_loss(objective, criterion, variable)
    assert evaluation.loss == pytest.approx(loss.item(), rel=1e-14)
    close(evaluation.gradient, torch.autograd.grad(loss, variable)[0])
    hessian = dense_hessian(objective, criterion, theta)
    gauss_newton = dense_gauss_newton(objective, criterion, theta)
    block = torch.randn(len(theta), vectors, dtype=torch.float64)
    close(evaluation.hessian(block), hessian @ block)
    close(evaluation.gauss_newton(block), gauss_newton @ block)
    close(evaluation.residual(block), (hessian - gauss_newton) @ block)


def test_the_ragged_workspace_is_ragged() -> None:
    objective, _ = small_problem("cross_entropy", workspace="ragged")
    size = objective.chunk_size(5, torch.float64)
    assert objective.examples % size != 0
    assert 1 < size < objective.examples


@every_criterion
@every_workspace
def test_products_are_taken_in_the_precision_of_the_block(criterion: str, workspace: str) -> None:
    objective, theta = small_problem(criterion, workspace=workspace)
    block = torch.randn(len(theta), 3, dtype=torch.float64)
    for _ in range(2):  # the second time in the memory of the first
        evaluation = objective.evaluate(theta)
        for matrix in ("hessian", "gauss_newton", "residual"):
            exact, rounded = (getattr(evaluation, matrix)(b) for b in (block, block.float()))
            assert (exact.dtype, rounded.dtype) == (torch.float64, torch.float32)
            close(rounded.double(), exact, tolerance=1e-5)
            close(getattr(evaluation, matrix)(block), exact, tolerance=0)


def test_result_is_written_into_the_given_memory() -> None:
    objective, theta = small_problem("cross_entropy")
    evaluation = objective.evaluate(theta)
    block = torch.randn(2, len(theta), dtype=torch.float64).T
    out = torch.full((2, len(theta)), float("nan"), dtype=torch.float64)
    returned = evaluation.hessian(block, out.T)
    assert returned.data_ptr() == out.data_ptr()
    close(out.T, evaluation.hessian(block))


def test_accuracy_counts_correct_labels() -> None:
    objective, theta = small_problem("cross_entropy")
    predicted = objective.network.outputs(theta, objective.inputs).argmax(1)
    expected = (predicted == objective.targets).double().mean().item()
    assert objective.evaluate(theta).accuracy == expected
    assert 0 < expected < 1


def test_names_that_there_are_not_are_refused() -> None:
    objective, _ = small_problem("cross_entropy")
    with pytest.raises(ValueError, match="'mse' was given; allowed: cross_entropy, squared_error"):
        MLPObjective(objective.network, "mse", objective.inputs, objective.targets)
    with pytest.raises(ValueError, match="'swish' was given; allowed: elu"):
        MLP((3, 4, 2), "swish")
