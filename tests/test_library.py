"""eosflow on networks of one's own: the numbers of dense matrices, on any module, loss and data."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from own_modules import (
    C,
    Cells,
    Checkpointed,
    D,
    Forward,
    Fused,
    N,
    Rotary,
    Tied,
    Tokens,
    attention,
    convolutional,
    data_of,
    doubled,
    frozen,
    ignored,
    images,
    labels_of_tokens,
    mlp,
    numbers,
    sampled,
    sequences,
    words,
)
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import eosflow
from eosflow.library import density, factors, following, problem, spectrum

Case = tuple[nn.Module, Any, Any, Callable[..., Tensor]]
ENTROPY, BINARY = functional.cross_entropy, functional.binary_cross_entropy_with_logits
ONE = Forward(after=lambda z: z[:, :1])
CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 5.0])
# Module and data, of the mean cross-entropy.
OF_CLASSES: dict[str, tuple[nn.Module, Any]] = {
    "tanh": (mlp(), data_of()),
    "relu in place": (mlp(lambda: nn.ReLU(inplace=True)), data_of()),
    "tied weights": (Tied(), data_of()),
    "frozen layer": (frozen(), data_of()),
    "convolutions, batch norm": (sampled(convolutional()), images),
    "attention": (attention(), sequences),
    "fused LSTM": (Fused(), sequences),
    "fused GRU": (Fused(nn.GRU), sequences),
    "checkpoints": (Checkpointed(), data_of()),
    "complex buffer": (Rotary(), data_of()),
    "ignored labels": (mlp(), (data_of()[0], ignored)),
    "soft labels": (mlp(), (data_of()[0], numbers()[1].softmax(1))),
    "cells": (Cells(), sequences),
    "words": (nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Tanh(), nn.Linear(6, C)), words),
}
# Module, loss and data: the loss of torch is taken as it is.
OF_LOSSES: dict[str, tuple[nn.Module, Any, Any]] = {
    "own cross-entropy": (mlp(), nn.CrossEntropyLoss(label_smoothing=0.1), data_of()),
    "own squares": (mlp(), nn.MSELoss(), numbers()),
    "own smooth L1": (mlp(), functional.smooth_l1_loss, numbers()),
    "Huber": (mlp(), nn.HuberLoss(), numbers()),
    "a class per pixel": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 2, 2)),
        nn.CrossEntropyLoss(),
        (images[0], torch.randint(0, 2, (N, 2, 2))),
    ),
}
# Name: module, criterion, data, and the loss as torch has it, over all examples.
RIGHT: dict[str, Case] = {
    **{name: (net, "cross_entropy", data, ENTROPY) for name, (net, data) in OF_CLASSES.items()},
    **{name: (net, loss, data, loss) for name, (net, loss, data) in OF_LOSSES.items()},
    "gelu, numbers": (
        mlp(nn.GELU),
        "squared_error",
        numbers(),
        lambda z, y: (z - y).square().sum(1).mean(),
    ),
    "classes by squares": (
        mlp(nn.Softplus),
        "half_squared_error",
        data_of(),
        lambda z, y: (z - functional.one_hot(y, C)).square().sum(1).mean() / 2,
    ),
    "one number, (N,)": (
        Forward(after=lambda z: z[:, 0]),
        "mean_squared_error",
        (data_of()[0], numbers()[1][:, 0]),
        functional.mse_loss,
    ),
    "each example's own": (
        mlp(),
        lambda z, y: (z - y).pow(4).sum(1),
        numbers(),
        lambda z, y: (z - y).pow(4).sum(1).mean(),
    ),
    "two classes": (
        ONE,
        lambda z, y: BINARY(z[:, 0], (y > 0).to(z)),
        data_of(),
        lambda z, y: BINARY(z[:, 0], (y > 0).to(z)),
    ),
    "class weights in float32": (
        mlp(),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        data_of(),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS.double()),
    ),
    "a class per token": (
        Tokens(),
        "cross_entropy",
        (words[0], labels_of_tokens),
        lambda z, y: ENTROPY(z.flatten(0, 1), y.flatten()),
    ),
    "several classes at once": (
        mlp(),
        nn.BCEWithLogitsLoss(),
        (data_of()[0], numbers()[1] > 0),
        lambda z, y: BINARY(z, (y > 0).to(z)),
    ),
    "one logit, labels (N,)": (
        ONE,
        nn.BCEWithLogitsLoss(),
        (data_of()[0], (data_of()[1] > 0).long()),
        lambda z, y: BINARY(z[:, 0], y.to(z)),
    ),
    "numbers (N,) for outputs (N, 1)": (
        ONE,
        nn.MSELoss(),
        (data_of()[0], numbers()[1][:, 0]),
        lambda z, y: functional.mse_loss(z[:, 0], y),
    ),
}


def double_backward(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """The Hessian (P, P), a row at a time."""
    variable = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(variable), variable, create_graph=True)
    rows = [torch.autograd.grad(entry, variable, retain_graph=True)[0] for entry in gradient]
    return torch.stack(rows)


@pytest.mark.parametrize("name", RIGHT)
def test_curvature_equals_dense_matrices(name: str) -> None:
    """𝓗 by plain double backward of torch's own loss; G as 𝓗 of the loss with z made linear.

    Not by torch.func.hessian: of torch 2.13 it is wrong for a LayerNorm, and not even symmetric.
    """
    module, criterion, (inputs, labels), loss = RIGHT[name]
    before = {key: value.clone() for key, value in module.state_dict().items()}
    own = eosflow.Problem(module, criterion, (inputs, labels))
    reference = doubled(module)
    x = inputs.double() if inputs.is_floating_point() else inputs
    y = labels.double() if labels.is_floating_point() else labels
    sizes = {n: p.shape for n, p in reference.named_parameters() if p.requires_grad}

    def outputs(theta: Tensor) -> Tensor:
        parts = torch.split(theta, [shape.numel() for shape in sizes.values()])
        named = {n: p.view(s) for (n, s), p in zip(sizes.items(), parts, strict=True)}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return functional_call(reference, named, (x.clone(),))

    theta = own.theta
    full = double_backward(lambda t: loss(outputs(t), y), theta)
    base = outputs(theta).detach()
    jacobian = torch.autograd.functional.jacobian(outputs, theta)

    def linear(t: Tensor) -> Tensor:
        return loss(base + torch.tensordot(jacobian, t - theta, 1), y)

    gauss_newton = double_backward(linear, theta)
    assert own.loss == pytest.approx(loss(base, y).item(), rel=1e-12)
    for matrix, dense in (
        ("hessian", full),
        ("gauss_newton", gauss_newton),
        ("residual", full - gauss_newton),
    ):
        pairs = eosflow.eigenpairs(own, k=2, matrix=matrix)  # type: ignore[arg-type]
        assert pairs.converged.all()
        expected = torch.linalg.eigvalsh(dense).flip(0)[:2]
        scale = expected.abs().max().item() + 1e-12
        torch.testing.assert_close(pairs.values, expected, rtol=0, atol=1e-4 * scale)
        errors = (dense @ pairs.vectors - pairs.vectors * pairs.values).norm(dim=0)
        torch.testing.assert_close(errors, pairs.residuals, rtol=1e-3, atol=1e-9 * (1 + scale))
    found = eosflow.decompose(own)
    largest = torch.linalg.eigvalsh(gauss_newton)[-1].item()
    assert found["sharpness_gauss_newton"] == pytest.approx(largest, rel=1e-6)
    assert found["m_norm2"] * found["overlap"] == pytest.approx(largest, rel=1e-6)
    assert 1 / N - 1e-9 <= found["overlap"] <= 1 + 1e-9
    # The module is the user's, as it was.
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]) and value.dtype == before[key].dtype


def test_batches_are_the_tensors_they_are_made_of() -> None:
    inputs, labels = data_of()
    whole = eosflow.Problem(mlp(), "cross_entropy", (inputs, labels))
    pairs = [(inputs[:4], labels[:4]), (inputs[4:], labels[4:])]
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=3)
    arrays = inputs.numpy(), labels.numpy().astype(np.uint8)
    for data in (pairs, iter(pairs), loader, [inputs, labels], arrays):
        same = eosflow.Problem(mlp(), "cross_entropy", data)
        assert same.loss == whole.loss
        assert torch.equal(same.objective.inputs, whole.objective.inputs)


def test_the_package_imports_nothing_until_it_is_used() -> None:
    """Planning imports it at every start of Snakemake and in each of its jobs."""
    program = (
        "import sys, eosflow; first = set(sys.modules); names = dir(eosflow); "
        "eosflow.GradientDescent, eosflow.TopEigenvalues, eosflow.Shuffled; "
        "heavy = {'torch', 'numpy', 'pandas'}; "
        "print(sorted(heavy & set(sys.modules)), 'eosflow.optimizers' in first, "
        "{'Problem', 'SGD', 'Adam'} <= set(names), hasattr(eosflow, 'Nothing'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[0] == "[] False True False", done.stderr


@pytest.mark.parametrize(
    "module", [density, factors, following, problem, spectrum], ids=lambda m: m.__name__
)
def test_the_examples_in_the_docstrings_run(module: Any) -> None:
    failed, tried = doctest.testmod(module)
    assert tried > 0 and failed == 0


def test_tables_and_arrays_are_the_tensors_they_hold() -> None:
    inputs, labels = data_of()
    table = pd.DataFrame(inputs.numpy(), columns=list("abcdef"))
    own = eosflow.Problem(Forward(), "cross_entropy", (table, pd.Series(labels.numpy())))
    assert torch.equal(own.objective.inputs, inputs.double())
    assert torch.equal(own.objective.targets, labels)
    for lists in (inputs, inputs.view(N, 2, D // 2)):  # as a parquet file with lists is read
        held = pd.DataFrame({"x": lists.tolist()})
        for part in (held["x"], held):
            module = nn.Sequential(nn.Flatten(), Forward())
            own = eosflow.Problem(module, "cross_entropy", (part, labels))
            assert torch.equal(own.objective.inputs, inputs.double())
    ragged = pd.DataFrame({"x": [[1.0]] * (N - 1) + [[1.0, 2.0]]})
    with pytest.raises(eosflow.UserError, match="pad lists"):
        eosflow.Problem(Forward(), "cross_entropy", (ragged, labels))
    with pytest.raises(eosflow.UserError, match="one DataFrame was given"):
        eosflow.Problem(Forward(), "cross_entropy", table)
    words_ = pd.DataFrame({"a": ["x"] * N})
    with pytest.raises(eosflow.UserError, match="Encode words"):
        eosflow.Problem(Forward(), "cross_entropy", (words_, labels))
