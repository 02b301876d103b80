"""What a monitor measures in a loop of one's own."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from own_loops import LOSS, bits, every, same, stepped
from own_modules import C, D, data_of, mlp
from torch import Tensor, nn

import eosflow
from eosflow.measurements import MEASUREMENTS
from eosflow.spectra.tracking import Tracker


def test_eigenvalues_are_those_of_a_problem_made_anew_at_each_look() -> None:
    module, data = mlp(), data_of()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.5)
    measure = [
        eosflow.TopEigenvalues(k=3, every=5),
        eosflow.GradientAlignment(k=3, every=5, tolerance=1e-5),
    ]
    monitor = eosflow.Monitor(module, "cross_entropy", data, optimizer=optimizer, measure=measure)
    for _ in range(4):
        stepped(monitor, optimizer, data, 5)
        problem = eosflow.Problem(module, "cross_entropy", data)
        pairs = eosflow.eigenpairs(problem, k=3)
        latest = monitor.latest
        found = [latest[f"top-eigenvalues/eigenvalue_{m}"] for m in (1, 2, 3)]
        assert found == pytest.approx(pairs.values.tolist(), rel=1e-3)
        assert latest["top-eigenvalues/loss"] == pytest.approx(problem.loss, rel=1e-6)
        assert latest["top-eigenvalues/over_edge"] == pytest.approx(found[0] * 0.3 / 3, rel=1e-6)
        gradient = problem.objective.evaluate(problem.theta).gradient
        share = (pairs.vectors.T @ gradient).square().sum() / gradient.square().sum()
        assert latest["gradient-alignment/gradient_share"] == pytest.approx(share.item(), rel=1e-2)
    frame = monitor.frames["top-eigenvalues"]
    assert list(frame["iteration"]) == [5, 10, 15, 20]
    assert frame["converged"].all()
    # A warm start: the search that comes first is the longest.
    assert frame["products"].iloc[1:].max() < frame["products"].iloc[0]
    assert all(isinstance(value, float) for value in monitor.latest.values())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
        (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
        (torch.optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.3}),
    ],
)
def test_critical_sharpness_goes_along_the_optimizers_own_step(kind: Any, settings: Any) -> None:
    """On a quadratic λ_c is uᵀ𝓗u/(η ∇𝓛ᵀu), u the way back of a step that is really taken."""
    torch.manual_seed(0)
    data = torch.randn(20, D).double(), torch.randn(20, C).double()
    module = nn.Linear(D, C).double()
    groups = [{"params": [module.bias], "lr": 0.02}, {"params": [module.weight]}]
    optimizer = kind(groups, **settings)
    measure = [eosflow.CriticalSharpness(every=3)]
    monitor = eosflow.Monitor(module, nn.MSELoss(), data, optimizer=optimizer, measure=measure)

    def slope() -> Tensor:
        optimizer.zero_grad()
        nn.functional.mse_loss(module(data[0]), data[1]).backward()
        return nn.utils.parameters_to_vector([p.grad for p in module.parameters()])

    def theta() -> Tensor:
        return nn.utils.parameters_to_vector(module.parameters()).detach().clone()

    for _ in range(3):
        slope()
        optimizer.step()
        before = copy.deepcopy(bits(module, optimizer))
        monitor.step()
        assert same(before, bits(module, optimizer))
    start, gradient = theta(), slope()
    optimizer.step()
    u = start - theta()
    dense = eosflow.Problem(module, nn.MSELoss(), data).product("hessian", u)
    rate, latest = 0.02, monitor.latest
    expected = (u @ dense / (rate * (gradient @ u))).item()
    assert latest["critical-sharpness/update_sharpness"] == pytest.approx(expected, rel=2e-3)
    assert latest["critical-sharpness/update_edge"] == 2 / rate
    assert latest["critical-sharpness/update_over_edge"] == pytest.approx(
        expected * rate / 2, rel=2e-3
    )
    assert latest["critical-sharpness/update_converged"] == 1.0


@pytest.mark.parametrize("measurements", [11, 101])
def test_another_eigenvalue_that_overtakes_is_seen(measurements: int) -> None:
    """A diagonal 𝓗 whose second entry grows past the first, which stays an exact eigenpair."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    module = Scaled()
    measure = [eosflow.TopEigenvalues(k=1, every=1)]
    monitor = eosflow.Monitor(module, "half_squared_error", None, measure=measure)
    found = []
    for second in torch.linspace(0.5, 1.5, measurements):
        scale = torch.tensor([1.0, float(second), 0.3, 0.2, 0.1, 0.05], dtype=torch.float64)
        monitor.step((torch.diag(scale.sqrt()) * 6**0.5, torch.zeros(6, 6)))
        found.append(monitor.latest["top-eigenvalues/eigenvalue_1"])
    assert found == pytest.approx(np.maximum(1, np.linspace(0.5, 1.5, measurements)), rel=1e-3)


def test_another_is_seen_to_overtake_as_soon_as_the_first_turns() -> None:
    """After measurements without change, from which on none expects another to come near."""
    tracker, like = Tracker(), torch.zeros(6, dtype=torch.float64)

    def found(second: float, angle: float) -> float:
        turn = torch.eye(6, dtype=torch.float64)
        turn[0, 0] = turn[2, 2] = math.cos(angle)
        turn[2, 0], turn[0, 2] = math.sin(angle), -math.sin(angle)
        values = torch.tensor([1.0, second, 0.3, 0.2, 0.1, 0.05], dtype=torch.float64)
        matrix = turn @ torch.diag(values) @ turn.T
        tracker.changed()
        pairs = tracker.find(lambda v, out: out.copy_(matrix @ v), like, 1, 1e-3, 100)
        assert pairs.converged
        return pairs.values[0].item()

    for _ in range(5):
        assert found(0.5, 0.0) == pytest.approx(1, rel=1e-5)
    assert found(1.5, 0.5) == pytest.approx(1.5, rel=1e-5)


def test_frames_go_to_parquet_and_back(tmp_path: Any) -> None:
    module, data = mlp(), data_of()
    optimizer = torch.optim.Adam(module.parameters())
    measure = [every(kind) for kind in MEASUREMENTS.values()]
    monitor = eosflow.Monitor(
        module, LOSS, data, optimizer=optimizer, measure=measure, held_out=data_of(seed=5)
    )
    stepped(monitor, optimizer, data, 6)
    for name, frame in monitor.frames.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), frame)


def test_held_out_examples_are_those_that_are_given() -> None:
    module, data, other = mlp(), data_of(), data_of(seed=5)
    monitor = eosflow.Monitor(
        module, LOSS, data, measure=[eosflow.Accuracy(every=1)], held_out=other
    )
    monitor.step()
    outputs = module(other[0])
    latest = monitor.latest
    assert latest["accuracy/held_out_loss"] == pytest.approx(LOSS(outputs, other[1]).item())
    right = (outputs.argmax(1) == other[1]).double().mean().item()
    assert latest["accuracy/held_out_accuracy"] == pytest.approx(right)
