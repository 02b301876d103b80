"""Studies on a tiny problem: the order of every scheme, its cost, who leaves the flow; drawings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from verdicts import drawn

from eosflow.analysis import seeds
from eosflow.datasets.dice import Dice
from eosflow.networks.mlp import MLPSettings
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.runs.spec import RunSpec
from eosflow.studies.testbeds import DICE
from eosflow.studies.transient import rows as transient
from eosflow.studies.work_precision import rows as work_precision
from eosflow.studies.work_precision.figure import MARKERS
from eosflow.workflow import config
from eosflow.workflow.expand import expand

STEPS = (0.05, 0.025, 0.0125)


def tiny() -> tuple[RunSpec, MLPObjective]:
    """A smooth flow (λ₁ about 5), with pairs so exact that the scheme's error is all there is."""
    euler = ExponentialEuler(eigen_tolerance=1e-6, eigen_dtype="float64", max_block_products=1000)
    spec = dataclasses.replace(
        DICE,
        data=Dice(image_size=4),
        network=MLPSettings(width=8, depth=3),
        n=12,
        optimizer=euler,
    )
    stream = torch.Generator().manual_seed(0)
    inputs = torch.rand(spec.n, 16, generator=stream, dtype=torch.float64)
    labels = torch.arange(spec.n) % spec.outputs
    network = spec.network.build(spec.shape, spec.outputs)
    return spec, MLPObjective(network, spec.criterion, inputs, labels)


@pytest.mark.slow
def test_errors_fall_with_the_order_of_the_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_precision, "STEP_SIZES", STEPS)
    end = work_precision.FLOW_TIMES[0]
    rows = pd.DataFrame(work_precision.study(*tiny(), (end,))).set_index("scheme")
    for scheme, order in (("exponential Euler", 1), ("exponential Heun", 2), ("RK4", 4)):
        steps, errors, gradients = (
            rows.loc[scheme, name].tolist() for name in ("step", "relative_error", "gradients")
        )
        slope = np.log(errors[-1] / errors[-2]) / np.log(steps[-1] / steps[-2])
        assert slope == pytest.approx(order, abs=0.15 * order), scheme
        # One gradient a step, two, four: steps end at the flow time, none is rejected here.
        if scheme != "RK4":
            assert gradients == pytest.approx([order * end / step for step in STEPS])
        else:
            assert all(count % 4 == 0 for count in gradients)


def test_the_problem_is_solved_with_the_papers_settings() -> None:
    root = Path(__file__).parent.parent
    small = {
        "select": ["dice-ce"],
        "networks": {"mlp": {"width": 64}},
        "optimizers": {"exponential-euler": {"eigen_dtype": "float64"}},
        "datasets": {"dice": {"image_size": 16, "point": 16}},
        "experiments": {"dice-ce": {"n": [60], "target_loss": 0.02}},
    }
    first = next(iter(expand(config.load([root / "config.yaml"], small)).values()))
    ours, theirs = DICE.to_record(), first.to_record()
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different == {"experiment"}


def test_at_the_start_only_the_scheme_with_long_steps_leaves_the_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transient, "END", 0.3)
    spec, smooth = tiny()
    # Large inputs, for a λ₁ of about 100: ten times what steps of 0.1 can follow.
    steep = MLPObjective(smooth.network, spec.criterion, 10 * smooth.inputs, smooth.targets)
    euler = spec.optimizer.model_copy(update={"max_step_size": 0.1})
    frame = pd.DataFrame(transient.study(dataclasses.replace(spec, optimizer=euler), steep))
    courses = dict(list(frame.groupby("scheme")))
    reference = courses.pop("adaptive, tolerance 0.0001")
    apart = {}
    for scheme, course in courses.items():
        assert (course["loss"].diff().dropna() <= 0).all(), scheme
        assert course["iteration"].tolist()[:4] == [0, 1, 2, 3], scheme
        ends = pd.concat([reference, course]).groupby("scheme").last()
        now, then = ends.loc[scheme], ends.loc["adaptive, tolerance 0.0001"]
        # Gradient descent ends within a step of it, the others exactly there.
        assert now["flow_time"] == pytest.approx(0.3, rel=2e-3), scheme
        apart[scheme] = abs(now["sharpness_hessian"] / then["sharpness_hessian"] - 1)
    assert max(apart["adaptive, tolerance 0.01"], apart["gradient descent"]) < 0.01
    assert apart["exponential Euler"] > 0.1


def test_work_precision_draws_each_row_where_it_belongs() -> None:
    schemes = ["RK4", "RK4", "exponential Euler", "gradient descent"]
    columns = {"scheme": schemes, "step": [1.0, 2.0, 0.01, 1.0], "flow_time": [0.5, 0.5, 0.5, 2.0]}
    columns |= {"relative_error": [1e-6, float("nan"), 3e-3, 7e-4], "work": [80.0, 40, 30, 90]}
    frame = pd.DataFrame(columns)
    figure = drawn("work-precision", frame)
    assert [axes.get_title() for axes in figure.axes] == ["flow time 0.5", "flow time 2"]
    lines = [line for axes in figure.axes for line in axes.lines]
    points = sorted(tuple(point) for line in lines for point in line.get_xydata())
    assert points == sorted([(80.0, 1e-6), (40.0, 1.0), (30.0, 3e-3), (90.0, 7e-4)])
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == set(frame["scheme"]) < set(MARKERS)


def test_the_median_of_seeds_that_are_known_elsewhere_is_between_their_lines() -> None:
    axes = Figure().subplots()
    first = pd.DataFrame({"seed": 0, "t": [0.0, 2.0, 4.0], "y": [0.0, 2.0, 4.0]})
    second = pd.DataFrame({"seed": 1, "t": [0.0, 3.0], "y": [6.0, 6.0]})
    seeds.lines(axes, pd.concat([first, second]), "t", "y", "black")
    *each, median = (line.get_xydata().tolist() for line in axes.lines)
    assert each == [[[0, 0], [2, 2], [4, 4]], [[0, 6], [3, 6]]]
    assert median == [[0, 3], [2, 4], [3, 4.5]]  # as far as both go


def test_spectra_are_drawn_as_counts_above_each_value() -> None:
    values = [-1.0, 0.0, 0.5, 2.0]
    rows = [
        {"kind": "counts", "matrix": matrix, "phase": phase, "value": value}
        | {"count_exact": exact, "count": exact + 0.5, "count_error": 0.25}
        | {"law": 100.0 - value if phase == "after" else None}
        for matrix in ("hessian", "gauss_newton")
        for phase in ("before", "in", "after")
        for value, exact in zip(values, (300, 20, 4, 0), strict=True)
    ]
    figure = drawn("spectral-density", pd.DataFrame(rows))
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert axes.get_ylabel() == "eigenvalues above x"
        counted, estimated, *law = (line.get_xydata().tolist() for line in axes.lines)
        assert counted == [[-1, 300], [0, 20], [0.5, 4], [2, 0]]
        assert [y for _, y in estimated] == [300.5, 20.5, 4.5, 0.5]
        assert bool(law) == ("after" in axes.get_title())
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["−1", "", "0", "0.01", "1"]
