"""Pictures of runs, monitors and their frames: what is drawn is what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from own_modules import data_of, mlp
from torch import nn

import eosflow
from eosflow import plot

MEASURE = [
    eosflow.TopEigenvalues(k=3, every=2),
    eosflow.SpectralDensity(probes=4, steps=20, every=2),
]


@pytest.fixture(autouse=True)
def off_screen() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    pyplot.close("all")


def watched(make: Any) -> eosflow.Monitor:
    module, (inputs, labels) = mlp(), data_of()
    optimizer = make(module.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    loss = nn.CrossEntropyLoss()
    data = inputs, labels
    monitor = eosflow.Monitor(module, loss, data, optimizer=optimizer, measure=MEASURE)
    for _ in range(8):
        optimizer.zero_grad()
        loss(module(inputs), labels).backward()
        optimizer.step()
        schedule.step()
        monitor.step()
    return monitor


def lines(axes: Any) -> dict[str, list[float]]:
    return {str(line.get_label()): list(line.get_ydata()) for line in axes.lines}


def test_a_monitor_is_drawn_with_the_edge_of_its_optimizer() -> None:
    monitor = watched(lambda p: torch.optim.AdamW(p, lr=0.01))
    frame = monitor.frames["top-eigenvalues"]
    axes = monitor.plot()
    drawn = lines(axes)
    assert list(drawn.values()) == [
        frame["preconditioned_sharpness"].tolist(),
        frame["edge"].tolist(),
    ]
    assert "P^" in next(iter(drawn)) and "edge of stability" in drawn
    assert np.isinf(frame["edge"].iloc[-1])  # the end of the cosine
    assert np.isfinite(axes.get_ylim()).all()
    plain = watched(lambda p: torch.optim.SGD(p, lr=0.1))
    assert "P^" not in next(iter(lines(plain.plot())))


def test_a_run_is_drawn_with_the_edge_that_its_optimizer_has() -> None:
    problem = eosflow.Problem(mlp(), "cross_entropy", data_of())
    descent = eosflow.GradientDescent(learning_rate=0.1, momentum=0.5, weight_decay=0.01)
    run = eosflow.follow(problem, descent, steps=4, measure=MEASURE)
    found = lines(plot.sharpness(run))
    assert found["edge of stability"] == pytest.approx([3 / 0.1 - 0.01] * 3)
    for other in (eosflow.Adam(learning_rate=0.01), eosflow.RungeKutta4(max_step_size=0.1)):
        run = eosflow.follow(problem, other, steps=4, measure=MEASURE)
        axes = plot.sharpness(run)
        assert len(axes.lines) == 1
        assert axes.get_xlabel() == ("flow time" if other.follows_flow else "step")


def test_axes_come_back_and_frames_are_drawn_from_a_file(tmp_path: Path) -> None:
    monitor = watched(lambda p: torch.optim.Adam(p, lr=0.01))
    _, panels = pyplot.subplots(1, 3)
    for draw, name, axes in zip(
        (plot.sharpness, plot.eigenvalues, plot.density),
        ("top-eigenvalues", "top-eigenvalues", "spectral-density"),
        panels,
        strict=True,
    ):
        assert draw(monitor, axes) is axes
        monitor.frames[name].to_parquet(tmp_path / "frame.parquet")
        again = draw(pd.read_parquet(tmp_path / "frame.parquet"))
        assert list(lines(again).values()) == list(lines(axes).values())
    tracks = [value for key, value in lines(panels[1]).items()]
    frame = monitor.frames["top-eigenvalues"]
    assert tracks == [frame[f"eigenvalue_{m}"].tolist() for m in (1, 2, 3)]


def test_a_density_integrates_to_one() -> None:
    monitor = watched(lambda p: torch.optim.SGD(p, lr=0.1))
    (line,) = plot.density(monitor).lines
    x, y = (np.asarray(part, dtype=float) for part in (line.get_xdata(), line.get_ydata()))
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-3)
    last = monitor.frames["spectral-density"].iloc[-1]
    mean = np.trapezoid(x * y, x)
    assert mean * 53 == pytest.approx(last["trace"], rel=1e-2)  # 53 parameters


def test_what_is_refused() -> None:
    with pytest.raises(eosflow.UserError, match="int was given"):
        plot.sharpness(3)
    monitor = eosflow.Monitor(mlp(), nn.CrossEntropyLoss(), data_of(), measure=MEASURE)
    with pytest.raises(
        eosflow.UserError, match=r"top-eigenvalues has not been measured yet.*TopEigenvalues"
    ):
        monitor.plot()
