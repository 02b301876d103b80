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
    Named,
    Padded,
    Rotary,
    Tied,
    Tokens,
    attention,
    convolutional,
    data_of,
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
from eosflow.objectives.reverse import ReverseEvaluation

# Name: module, criterion, data, and the loss as torch has it, over all examples.
RIGHT: dict[str, tuple[nn.Module, Any, Any, Callable[..., Tensor]]] = {
    "tanh": (mlp(), "cross_entropy", data_of(), functional.cross_entropy),
    "relu in place": (
        mlp(lambda: nn.ReLU(inplace=True)),
        "cross_entropy",
        data_of(),
        functional.cross_entropy,
    ),
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
    "own cross-entropy": (
        mlp(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        data_of(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
    ),
    "own squares": (mlp(), nn.MSELoss(), numbers(), functional.mse_loss),
    "own smooth L1": (mlp(), functional.smooth_l1_loss, numbers(), functional.smooth_l1_loss),
    "each example's own": (
        mlp(),
        lambda z, y: (z - y).pow(4).sum(1),
        numbers(),
        lambda z, y: (z - y).pow(4).sum(1).mean(),
    ),
    "two classes": (
        Forward(after=lambda z: z[:, :1]),
        lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], (y > 0).to(z)),
        data_of(),
        lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], (y > 0).to(z)),
    ),
    "tied weights": (Tied(), "cross_entropy", data_of(), functional.cross_entropy),
    "frozen layer": (frozen(), "cross_entropy", data_of(), functional.cross_entropy),
    "convolutions, batch norm": (
        sampled(convolutional()),
        "cross_entropy",
        images,
        functional.cross_entropy,
    ),
    "attention": (attention(), "cross_entropy", sequences, functional.cross_entropy),
    "fused LSTM": (Fused(), "cross_entropy", sequences, functional.cross_entropy),
    "fused GRU": (Fused(nn.GRU), "cross_entropy", sequences, functional.cross_entropy),
    "checkpoints": (Checkpointed(), "cross_entropy", data_of(), functional.cross_entropy),
    "complex buffer": (Rotary(), "cross_entropy", data_of(), functional.cross_entropy),
    "Huber": (mlp(), nn.HuberLoss(), numbers(), functional.huber_loss),
    "class weights in float32": (
        mlp(),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0])),
        data_of(),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double()),
    ),
    "ignored labels": (
        mlp(),
        "cross_entropy",
        (data_of()[0], ignored),
        functional.cross_entropy,
    ),
    "a class per token": (
        Tokens(),
        "cross_entropy",
        (words[0], labels_of_tokens),
        lambda z, y: functional.cross_entropy(z.flatten(0, 1), y.flatten()),
    ),
    "soft labels": (
        mlp(),
        "cross_entropy",
        (data_of()[0], numbers()[1].softmax(1)),
        functional.cross_entropy,
    ),
    "several classes at once": (
        mlp(),
        nn.BCEWithLogitsLoss(),
        (data_of()[0], numbers()[1] > 0),
        lambda z, y: functional.binary_cross_entropy_with_logits(z, (y > 0).to(z)),
    ),
    "one logit, labels (N,)": (
        Forward(after=lambda z: z[:, :1]),
        nn.BCEWithLogitsLoss(),
        (data_of()[0], (data_of()[1] > 0).long()),
        lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y.to(z)),
    ),
    "numbers (N,) for outputs (N, 1)": (
        Forward(after=lambda z: z[:, :1]),
        nn.MSELoss(),
        (data_of()[0], numbers()[1][:, 0]),
        lambda z, y: functional.mse_loss(z[:, 0], y),
    ),
    "cells": (Cells(), "cross_entropy", sequences, functional.cross_entropy),
    "words": (
        nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Tanh(), nn.Linear(6, C)),
        "cross_entropy",
        words,
        functional.cross_entropy,
    ),
    "a class per pixel": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 2, 2)),
        nn.CrossEntropyLoss(),
        (images[0], torch.randint(0, 2, (N, 2, 2))),
        nn.CrossEntropyLoss(),
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
    reference = own.network.trained(own.theta)
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


def dense_hessian(module: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """𝓗 over all parameters of a module in float64, by plain double backward."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    rows = []
    for entry in torch.cat([gradient.flatten() for gradient in gradients]):
        row = torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
        rows.append(
            torch.cat(
                [torch.view_as_real(r).flatten() if r.is_complex() else r.flatten() for r in row]
            )
        )
    return torch.stack(rows)


def test_inputs_by_name_in_every_form() -> None:
    stream = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 9, (N, 4), generator=stream)
    mask = torch.arange(4) < torch.randint(1, 5, (N, 1), generator=stream)
    labels = data_of()[1]
    module = Named().double()
    dense = dense_hessian(
        module, lambda: functional.cross_entropy(module(ids, mask)["logits"], labels)
    )
    expected = torch.linalg.eigvalsh(dense).flip(0)[:2]
    named = {"ids": ids, "mask": mask}
    batches = [
        {**{name: part[rows] for name, part in named.items()}, "labels": labels[rows]}
        for rows in (slice(0, 3), slice(3, N))
    ]
    pairs = [((ids[:3], mask[:3]), labels[:3]), ((ids[3:], mask[3:]), labels[3:])]
    examples = TensorDataset(ids, mask, labels)
    for data in ((named, labels), {**named, "labels": labels}, batches, pairs, examples):
        own = eosflow.Problem(Named(), "cross_entropy", data)
        found = eosflow.eigenpairs(own, k=2, tolerance=1e-8)
        torch.testing.assert_close(found.values, expected, rtol=1e-6, atol=0)


def test_weight_decay_is_in_the_loss_and_its_hessian() -> None:
    plain = eosflow.Problem(Forward(), "cross_entropy", data_of())
    own = eosflow.Problem(Forward(), "cross_entropy", data_of(), weight_decay=0.2)
    closed = eosflow.Problem(mlp(), "cross_entropy", data_of(), weight_decay=0.2)
    assert own.loss == pytest.approx(plain.loss + 0.1 * own.theta.square().sum().item())
    for problem_ in (own, closed):
        at, step = problem_.objective, torch.randn_like(problem_.theta) * 1e-5
        ahead, behind = (at.evaluate(problem_.theta + s * step) for s in (1, -1))
        slope = (problem_.evaluation.gradient @ step).item()
        assert (ahead.loss - behind.loss) / 2 == pytest.approx(slope, rel=1e-5)
        product = problem_.product("hessian", step)
        torch.testing.assert_close(
            (ahead.gradient - behind.gradient) / 2, product, rtol=0, atol=1e-5 * product.norm()
        )
    values = [eosflow.eigenpairs(p, k=3).values for p in (own, plain)]
    torch.testing.assert_close(values[0], values[1] + 0.2)
    gauss_newton = [eosflow.eigenpairs(p, k=1, matrix="gauss_newton").values for p in (own, plain)]
    torch.testing.assert_close(*gauss_newton)


def test_a_complex_parameter_counts_as_two_real_ones() -> None:
    module = Rotary(trained=True)
    module = module._apply(lambda t: t.to(torch.complex128 if t.is_complex() else torch.float64))
    inputs, labels = data_of()
    own = eosflow.Problem(module, "cross_entropy", (inputs, labels))
    theta = own.theta
    assert len(theta) == 2 * 3 + 2 * (D + 1) * D - (D - C) * (D + 1)
    ahead = torch.randn_like(theta)
    h = 1e-6
    slopes = [own.objective.evaluate(theta + s * h * ahead).gradient for s in (1, -1)]
    product = own.product("hessian", ahead)
    torch.testing.assert_close((slopes[0] - slopes[1]) / (2 * h), product, rtol=1e-5, atol=1e-7)


def test_a_padding_row_is_frozen() -> None:
    """Whether pads are among the examples that are tried or not."""
    ids = torch.randint(1, 9, (N, 2), generator=torch.Generator().manual_seed(0))
    labels = data_of()[1]
    for place in (0, 5):
        padded = ids.clone()
        padded[place, 1] = 0
        own = eosflow.Problem(Padded(), "cross_entropy", (padded, labels))
        module = Padded().double()
        module.words.padding_idx = None
        dense = dense_hessian(
            module, lambda m=module, x=padded: functional.cross_entropy(m(x), labels)
        )
        moving = dense[2:, 2:]  # without the row of padding, the first two numbers
        assert own.network.parameters == len(moving)
        found = eosflow.eigenpairs(own, k=3, tolerance=1e-8).values
        torch.testing.assert_close(found, torch.linalg.eigvalsh(moving).flip(0)[:3])
        trained = own.network.trained(own.theta + 1)
        assert trained.words.padding_idx == 0
        assert torch.equal(trained.words.weight[0], module.words.weight[0])


def test_small_eigenvalues_of_badly_scaled_data_are_right() -> None:
    stream = torch.Generator().manual_seed(0)
    inputs = 300 + torch.randn(200, 20, generator=stream)
    targets = torch.randn(200, 1, generator=stream)
    own = eosflow.Problem(nn.Linear(20, 1), "half_squared_error", (inputs, targets))
    ones = torch.cat([inputs, torch.ones(200, 1)], 1).double()
    expected = torch.linalg.eigvalsh(ones.T @ ones / 200)
    pairs = eosflow.eigenpairs(own, k=5)
    torch.testing.assert_close(pairs.values, expected.flip(0)[:5], rtol=1e-4, atol=0)
    assert pairs.converged.all() and pairs.converged.shape == (5,)
    short = eosflow.eigenpairs(own, k=21, which="magnitude")
    torch.testing.assert_close(short.values, expected.flip(0), rtol=1e-4, atol=1e-7)


def test_either_end_of_the_spectrum_and_each_layer() -> None:
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    dense = own.product("hessian", torch.eye(len(own.theta)).double())
    values = torch.linalg.eigvalsh(dense)
    found = {which: eosflow.eigenpairs(own, k=4, which=which).values for which in spectrum.WHICH}
    torch.testing.assert_close(found["largest"], values.flip(0)[:4], rtol=1e-4, atol=0)
    torch.testing.assert_close(found["smallest"], values[:4], rtol=1e-4, atol=0)
    order = values.abs().argsort(descending=True)
    torch.testing.assert_close(found["magnitude"], values[order][:4], rtol=1e-4, atol=0)
    frame = eosflow.eigenpairs(own, k=2, groups="layer")
    assert list(frame["group"]) == ["0", "0", "2", "2"]
    for rows, block in ((slice(0, 2), own.network.groups[0]), (slice(2, 4), own.network.groups[1])):
        expected = torch.linalg.eigvalsh(dense[block, block]).flip(0)[:2]
        found_ = torch.tensor(list(frame["eigenvalue"][rows]), dtype=torch.float64)
        torch.testing.assert_close(found_, expected, rtol=1e-4, atol=0)


def test_multiple_eigenvalues_are_all_found() -> None:
    """A linear model's 𝓗 is one matrix for each output."""
    inputs, targets = numbers()
    own = eosflow.Problem(nn.Linear(D, C, bias=False), "half_squared_error", (inputs, targets))
    once = torch.linalg.eigvalsh((inputs.T @ inputs / N).double()).flip(0)
    pairs = eosflow.eigenpairs(own, k=7)
    torch.testing.assert_close(pairs.values, once.repeat_interleave(C)[:7], rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float64])
def test_every_precision_finds_the_same_and_says_how_well(dtype: torch.dtype | None) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(40, 100), nn.Tanh(), nn.Dropout(0.0), nn.Linear(100, C))
    data = torch.randn(30, 40), torch.randint(0, C, (30,))
    own = eosflow.Problem(module, "cross_entropy", data, dtype=dtype)
    assert own.theta.dtype == (dtype or torch.float64) and len(own.theta) > problem.SMALL
    pairs = eosflow.eigenpairs(own, k=3)
    exact = eosflow.Problem(module, "cross_entropy", data, dtype=torch.float64)
    vectors = pairs.vectors.double()
    apart = exact.product("hessian", vectors) - vectors * pairs.values
    torch.testing.assert_close(apart.norm(dim=0), pairs.residuals, rtol=0.2, atol=2e-6)
    expected = eosflow.eigenpairs(exact, k=3, tolerance=1e-8).values
    torch.testing.assert_close(pairs.values, expected, rtol=1e-5, atol=0)
    assert pairs.converged.all()


def test_an_interrupted_search_returns_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    own = eosflow.Problem(Forward(), "cross_entropy", data_of())
    product, calls = ReverseEvaluation.product, 0

    def stopped(*given: Any, **named: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return product(*given, **named)

    monkeypatch.setattr(ReverseEvaluation, "product", stopped)
    with pytest.warns(UserWarning, match="interrupted after 8 products"):
        pairs = eosflow.eigenpairs(own, k=2)
    assert not pairs.converged.any() and len(pairs.values) == 2
    assert pairs.values[0] > 0


def test_a_scipy_operator_is_the_matrix() -> None:
    own = eosflow.Problem(Forward(), "cross_entropy", data_of())
    operator = own.operator("gauss_newton")
    dense = operator @ np.eye(len(own.theta))
    expected = own.product("gauss_newton", torch.eye(len(own.theta)).double())
    np.testing.assert_allclose(dense, expected.numpy(), atol=1e-14)
    vector = np.random.default_rng(0).normal(size=len(own.theta))
    np.testing.assert_allclose(operator.matvec(vector), dense @ vector, atol=1e-12)


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


def test_density_and_trace_are_those_of_the_dense_matrix() -> None:
    own = eosflow.Problem(Forward(), "cross_entropy", data_of())
    values = torch.linalg.eigvalsh(own.product("hessian", torch.eye(len(own.theta)).double()))
    found = eosflow.spectral_density(own, probes=200, steps=30)
    bumps = torch.exp(-((found.grid - values[:, None]) / found.width).square() / 2)
    exact = (bumps / (found.width * (2 * torch.pi) ** 0.5)).mean(0)
    apart = (found.density - exact).abs()
    assert (apart <= 5 * found.errors + 1e-3 * exact.max()).all()
    area = torch.trapezoid(found.density, found.grid)
    assert area.item() == pytest.approx(1, abs=1e-3)
    assert found.nodes.shape == found.weights.shape == (200, 30)
    for matrix in ("hessian", "gauss_newton"):
        dense = own.product(matrix, torch.eye(len(own.theta)).double())  # type: ignore[arg-type]
        estimate = eosflow.trace(own, matrix, probes=200)  # type: ignore[arg-type]
        assert abs(estimate.value - dense.trace().item()) <= 4 * estimate.error
    for wrong in ({"probes": 1}, {"steps": 0}, {"matrix": "hesian"}):
        with pytest.raises(eosflow.UserError, match="|".join(wrong)):
            eosflow.spectral_density(own, **wrong)  # type: ignore[arg-type]


def test_tables_and_arrays_are_the_tensors_they_hold() -> None:
    inputs, labels = data_of()
    table = pd.DataFrame(inputs.numpy(), columns=list("abcdef"))
    own = eosflow.Problem(Forward(), "cross_entropy", (table, pd.Series(labels.numpy())))
    assert torch.equal(own.objective.inputs, inputs.double())
    assert torch.equal(own.objective.targets, labels)
    with pytest.raises(eosflow.UserError, match="one DataFrame was given"):
        eosflow.Problem(Forward(), "cross_entropy", table)
    words_ = pd.DataFrame({"a": ["x"] * N})
    with pytest.raises(eosflow.UserError, match="Encode words"):
        eosflow.Problem(Forward(), "cross_entropy", (words_, labels))
