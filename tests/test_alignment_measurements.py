"""Gradients in the sharpest directions, scans along them, and the sharpness of batches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import dense_hessian, reference_loss
from problems import small_problem, small_spec, write_noise_subset
from project import ROOT
from torch import Tensor, nn
from torch.func import grad

from eosflow.measurements.batch_sharpness import MinibatchSharpness
from eosflow.measurements.minibatch_gradients import AlphaScan, GradientAlignment
from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder
from eosflow.runs.train import train
from eosflow.spectra.randomness import generator
from eosflow.storage.columns import types_of
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json
from eosflow.studies.testbeds import quadratic
from eosflow.workflow import config


@pytest.fixture(scope="module")
def top() -> Tensor:
    """The four sharpest directions (P, 4) of the small problem, from the dense 𝓗."""
    objective, theta = small_problem("cross_entropy")
    return torch.linalg.eigh(dense_hessian(objective, "cross_entropy", theta))[1].flip(1)[:, :4]


def test_share_and_cosines_are_those_of_dense_eigenvectors(top: Tensor) -> None:
    objective, theta = small_problem("cross_entropy")
    size = objective.examples

    def gradient(rows: Tensor) -> Tensor:
        part = objective.batch(rows)
        return grad(lambda t: reference_loss(part, "cross_entropy", t))(theta)

    whole = gradient(torch.arange(size))
    measurement = GradientAlignment(k=4, batch_size=size, batches=2, tolerance=1e-8)
    record = measurement.measure(objective, theta, 3, 0)
    cosines = (top.T @ whole).abs() / whole.norm()
    # Batches of all examples: the cosines of each are those of the whole gradient.
    assert record["gradient_share"] == pytest.approx(cosines.square().sum().item(), rel=1e-7)
    known = [record[f"cosine_{m}"] for m in range(1, 5)]
    assert known == pytest.approx(cosines.tolist(), rel=1e-6, abs=1e-9)
    assert record["cosine"] == pytest.approx(np.mean(known))
    assert max(record[f"residual_{m}"] for m in range(1, 5)) <= 1e-8
    # With batches of one, the mean over many draws is that over the examples.
    many = GradientAlignment(k=4, batch_size=1, batches=400, tolerance=1e-8)
    record = many.measure(objective, theta, 3, 0)
    each = torch.stack([gradient(torch.tensor([row])) for row in range(size)])
    each = (each @ top).abs() / each.norm(dim=1, keepdim=True)
    error = each.std(0) / math.sqrt(400)
    for m in range(4):
        assert abs(record[f"cosine_{m + 1}"] - each[:, m].mean()) < 4 * error[m]
    assert record["batch_size"] == 1


def test_the_baseline_is_the_mean_cosine_of_random_directions() -> None:
    objective, theta = small_problem("cross_entropy")
    record = GradientAlignment(k=1, batches=1).measure(objective, theta, 0, 0)
    size = len(theta)
    exact = math.exp(math.lgamma(size / 2) - math.lgamma((size + 1) / 2)) / math.sqrt(math.pi)
    assert record["cosine_random"] == pytest.approx(exact, rel=0.3 / size)


def test_where_there_is_no_gradient_share_and_cosines_are_0() -> None:
    objective = quadratic((3.0, 2.0, 1.0))
    theta = torch.zeros(3, dtype=torch.float64)
    record = GradientAlignment(k=2, batches=2).measure(objective, theta, 0, 0)
    assert (record["gradient_share"], record["cosine"]) == (0, 0)
    record = GradientAlignment(k=5).measure(objective, theta, 0, 0)
    assert "cosine_3" in record and "cosine_4" not in record


ALPHAS = (0.25, 0.5, 1.0, 2.0, 4.0)


def test_on_a_quadratic_at_the_edge_the_profile_is_exact() -> None:
    objective = quadratic((20.0, 3.0, 1.0))
    theta = torch.tensor([0.3, -2.0, 1.5], dtype=torch.float64)
    scan = AlphaScan(alphas=ALPHAS, learning_rate=0.1, tolerance=1e-9, batches=2)
    record = scan.measure(objective, theta, 0, 0)
    unit = 0.1 * (20 * 0.3) ** 2
    assert record["top_scale"] == pytest.approx(unit, rel=1e-8)
    profile = (-0.1875, -0.25, 0.0, 2.0, 12.0)
    for loss in ("batch", "whole"):  # one batch of all examples: both are the same
        found = [record[f"top_{loss}_{alpha:g}"] for alpha in ALPHAS]
        assert found == pytest.approx([share * unit for share in profile], rel=1e-7, abs=1e-9)
        # −αη‖g‖² + α²η² gᵀ𝓗g/2.
        values = np.array([20.0, 3.0, 1.0])
        slope = values * theta.numpy()
        for alpha in ALPHAS:
            first, second = slope @ slope, slope @ (values * slope)
            step = -alpha * 0.1 * first + (alpha * 0.1) ** 2 * second / 2
            assert record[f"step_{loss}_{alpha:g}"] == pytest.approx(step, rel=1e-9)
    assert set(types_of(scan.columns(1))) == set(record)


def test_along_random_directions_the_mean_is_that_of_the_closed_form() -> None:
    # λ the same in all directions: E −αηc² + α²η²c²λ/2 with c = g·u and E c² = ‖g‖²/P.
    objective = quadratic((2.0,) * 6)
    theta = torch.arange(1.0, 7.0, dtype=torch.float64)
    scan = AlphaScan(alphas=(0.5,), learning_rate=0.3, batches=200)
    record = scan.measure(objective, theta, 0, 0)
    mean = 4 * theta.square().sum().item() / 6 * (-0.5 * 0.3 + (0.5 * 0.3) ** 2)
    # The variance of (g·u)² is 2(P − 1)/(P + 2) times the square of its mean.
    error = abs(mean) * math.sqrt(2 * 5 / 8 / 200)
    assert abs(record["random_whole_0.5"] - mean) < 4 * error


def test_batches_step_by_their_own_gradient() -> None:
    """f = θ·x fitted to y by halved squares: batches of one are quadratics of rank one."""
    module = nn.Linear(2, 1, bias=False)
    network = ModuleNetwork(module, (2,), lambda module, stream: None)
    inputs = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    objective = ModuleObjective(network, "half_squared_error", inputs, targets)
    theta = torch.tensor([2.0, 1.0], dtype=torch.float64)
    # 𝓗 = diag(2, ½): v₁ is the first axis. g_B is (6, 0) for one example, (0, −2) for the other.
    scan = AlphaScan(alphas=(1.0,), learning_rate=0.1, batch_size=1, batches=100, tolerance=1e-9)
    record = scan.measure(objective, theta, 0, 0)
    share = record["top_scale"] / 3.6  # of the batches that drew the first example
    assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(100))
    # From θ₁ = 2 to 1.4: ½(2·1.4 − 1)² − ½·3² for the batch, half of it for both examples.
    change = 0.5 * 1.8**2 - 4.5
    assert record["top_batch_1"] == pytest.approx(share * change, rel=1e-9)
    assert record["top_whole_1"] == pytest.approx(share * change / 2, rel=1e-9)
    other = 0.5 * 1.8**2 - 0.5 * 2.0**2  # from θ₂ = 1 to 1.2
    assert record["step_batch_1"] == pytest.approx(share * change + (1 - share) * other, rel=1e-9)


def test_a_scan_takes_the_runs_own_learning_rate(tmp_path: Path) -> None:
    subset = write_noise_subset(tmp_path / "dice-subset0.npz", seed=0)
    optimizer = GradientDescent(learning_rate=0.05, drop_at=(20,))
    train(small_spec(optimizer=optimizer, max_iterations=30), subset, tmp_path, threads=1)
    scan = AlphaScan(alphas=(1.0,), batches=1)
    measure_run(tmp_path, subset, scan)
    rates = {
        step: read_json(tmp_path / measured_folder(scan) / f"step{step:06d}.json")
        for step in (10, 20)
    }
    assert rates[10]["learning_rate"] == 0.05
    assert rates[20]["learning_rate"] == pytest.approx(0.005)
    objective, theta = small_problem("cross_entropy")
    with pytest.raises(UserError, match="no learning rate"):
        scan.measure(objective, theta, 0, 0)


def test_along_the_flow_a_scan_without_a_learning_rate_is_refused_before_work_starts() -> None:
    paper, measure = ROOT / "config.yaml", ["decomposition", "alpha-scan"]
    with pytest.raises(UserError, match=r"give measurements\.alpha-scan\.learning_rate"):
        config.load([paper], {"measure": measure})
    given = {"alpha-scan": {"learning_rate": 0.01}}
    assert config.load([paper], {"measure": measure, "measurements": given})["measure"] == measure


@pytest.mark.parametrize(("examples", "size"), [(12, 4), (13, 4), (13, 40)])
def test_batches_are_as_sharp_as_their_dense_hessians_say(examples: int, size: int) -> None:
    objective, theta = small_problem("squared_error", examples=examples)
    measurement = MinibatchSharpness(batch_size=size, tolerance=1e-8)
    record = measurement.measure(objective, theta, 5, 0)
    assert set(record) == set(types_of(measurement.columns(4)))

    def sharpness(rows: Tensor) -> float:
        dense = dense_hessian(objective.batch(rows), "squared_error", theta)
        return float(torch.linalg.eigvalsh(dense)[-1])

    size = min(size, examples)
    order = torch.randperm(examples, generator=generator(0, "minibatch-sharpness 5"))
    batches = [order[start : start + size] for start in range(0, examples - size + 1, size)]
    expected = np.mean([sharpness(rows) for rows in batches])
    assert record["minibatch_sharpness"] == pytest.approx(expected, rel=1e-7)
    assert record["sharpness"] == pytest.approx(sharpness(torch.arange(examples)), rel=1e-7)
    assert record["converged"] and record["batches"] == len(batches)
    # λ₁ is convex; for a rest of examples left out, that of those that were used.
    assert record["minibatch_sharpness"] >= sharpness(torch.cat(batches)) * (1 - 1e-9)
