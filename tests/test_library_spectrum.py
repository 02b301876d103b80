"""Eigenpairs, densities and traces of problems of one's own, and what counts as θ."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from own_modules import (
    C,
    D,
    Forward,
    N,
    Named,
    Padded,
    Rotary,
    data_of,
    doubled,
    mlp,
    numbers,
)
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import eosflow
from eosflow.library import problem, spectrum
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.reverse import ReverseEvaluation, ReverseObjective
from eosflow.spectra.ends import WHICH, Which
from eosflow.spectra.search import search


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
    module = doubled(Rotary(trained=True))
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


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_multiple_eigenvalue_far_from_all_others_is_found(which: Which, dtype: Any) -> None:
    """From one vector a search sees it once; what it sees next is far below."""
    diagonal = 0.05 * torch.randn(3000, generator=torch.Generator().manual_seed(0), dtype=dtype)
    diagonal[:5] = torch.tensor([1.0, 1.0, 1.0, 0.8, 0.8])
    if which == "smallest":
        diagonal *= -1
    start = torch.randn(1, 3000, generator=torch.Generator().manual_seed(1), dtype=dtype)
    found = search(lambda rows, out: out.copy_(rows * diagonal), start, 4, which, 1e-4, 1000)
    expected = diagonal[:4].double()
    torch.testing.assert_close(found.values, expected, rtol=1e-5, atol=0)
    assert found.converged.all() and found.products < 150


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


def test_density_and_trace_are_those_of_the_dense_matrix() -> None:
    own = eosflow.Problem(Forward(), "cross_entropy", data_of())
    values = torch.linalg.eigvalsh(own.product("hessian", torch.eye(len(own.theta)).double()))
    found = eosflow.spectral_density(own, probes=200, steps=30)
    bumps = torch.exp(-((found.grid - values[:, None]) / found.width).square() / 2)
    exact = (bumps / (found.width * (2 * torch.pi) ** 0.5)).mean(0)
    apart = (found.density - exact).abs()
    assert (apart <= 5 * found.errors + 1e-3 * exact.max()).all()
    spread = (apart / found.errors)[exact > 0.1 * exact.max()].median().item()
    assert 0.2 < spread < 2  # an error is about as large as it is said to be
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


def test_progress_says_first_what_the_work_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    eosflow.eigenpairs(own, k=1)
    assert capsys.readouterr().err == ""
    eosflow.eigenpairs(own, k=1, progress=True)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("eigenpairs: some ") and " products of about " in first and rest
    eosflow.spectral_density(own, probes=4, steps=5, progress=True)
    assert capsys.readouterr().err.startswith("density: some 20 products of about ")


@pytest.mark.parametrize(
    ("loss", "data", "closed"),
    [
        (nn.CrossEntropyLoss(), data_of(), True),
        (functional.cross_entropy, data_of(), True),
        (nn.CrossEntropyLoss(ignore_index=7), data_of(), True),
        (nn.MSELoss(), numbers(), True),
        (functional.mse_loss, numbers(), True),
        (nn.CrossEntropyLoss(ignore_index=1), data_of(), False),
        (nn.CrossEntropyLoss(label_smoothing=0.1), data_of(), False),
        (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0])), data_of(), False),
        (nn.CrossEntropyLoss(), (data_of()[0], numbers()[1].softmax(1)), False),
    ],
)
def test_a_plain_mlp_with_a_plain_loss_takes_the_closed_form(
    loss: Any, data: Any, closed: bool
) -> None:
    own = eosflow.Problem(mlp(), loss, data)
    assert isinstance(own.objective, MLPObjective) == closed
    double = copy.deepcopy(loss).double() if isinstance(loss, nn.Module) else loss
    hidden = eosflow.Problem(mlp(), lambda z, y: double(z, y), data)
    assert isinstance(hidden.objective, ReverseObjective)
    assert own.loss == pytest.approx(hidden.loss, rel=1e-12)
    v = torch.linspace(-1, 1, len(own.theta), dtype=torch.float64)
    torch.testing.assert_close(own.product("hessian", v), hidden.product("hessian", v))
