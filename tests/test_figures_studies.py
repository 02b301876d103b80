"""The drawings of the studies show every row of their tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from eosflow.studies import STUDIES
from eosflow.studies.transient.figure import LOOKS, QUANTITIES
from eosflow.studies.work_precision.figure import MARKERS


def test_work_precision_draws_each_row_where_it_belongs(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "scheme": ["RK4", "RK4", "exponential Euler", "gradient descent"],
            "step": [1.0, 2.0, 0.01, 1.0],
            "flow_time": [0.5, 0.5, 0.5, 2.0],
            "relative_error": [1e-6, float("nan"), 3e-3, 7e-4],
            "work": [80.0, 40.0, 30.0, 90.0],
        }
    )
    frame.to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["work-precision"].draw(tmp_path / "study.csv")
    early, late = figure.axes
    assert early.get_title() == "flow time 0.5"
    assert late.get_title() == "flow time 2"
    points = [
        [tuple(point) for point in line.get_xydata()] for axes in figure.axes for line in axes.lines
    ]
    drawn = sorted(point for line in points for point in line)
    assert drawn == sorted([(80.0, 1e-6), (40.0, 1.0), (30.0, 3e-3), (90.0, 7e-4)])
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == set(frame["scheme"]) < set(MARKERS)


def test_the_transient_is_drawn_from_the_left_edge_on_with_the_first_iterations_shaded(
    tmp_path: Path,
) -> None:
    rows = [
        {"scheme": scheme, "iteration": step, "flow_time": time}
        | {name: 1.0 + step + number for number, name in enumerate(QUANTITIES)}
        for scheme in LOOKS
        for step, time in ((0, 0.0), (10, 0.1), (40, 1.0))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["transient"].draw(tmp_path / "study.csv")
    assert len(figure.axes) == len(QUANTITIES)
    for number, axes in enumerate(figure.axes):
        assert {line.get_label() for line in axes.lines} == set(LOOKS)
        expected = [(0.05, 1.0 + number), (0.1, 11.0 + number), (1.0, 41.0 + number)]
        for line in axes.lines:
            assert [tuple(point) for point in line.get_xydata()] == expected
        (shade,) = axes.patches
        assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((0.05, 0.1))


def test_descent_is_drawn_beside_the_flow_with_the_edge_of_each_learning_rate(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "problem": problem,
            "seed": seed,
            "method": "gradient flow" if rate is None else "gradient descent",
            "learning_rate": rate,
            "flow_time": time,
            "sharpness": 10.0 + time + seed,
            "loss": 1.0 / (1 + time),
            "distance": 0.1 * time if rate else 0.0,
        }
        for problem in ("cheb-4", "Dice")
        for seed in (0, 1)
        for rate in (None, 0.1, 0.2, 0.4)
        for time in (0.0, 1.0, 2.0)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["edge-of-stability"].draw(tmp_path / "study.csv")
    assert len(figure.axes) == 6
    sharpness, loss, distance = figure.axes[3:]
    assert sharpness.get_title() == "Dice, 2 seeds"
    assert "sharpness" in sharpness.get_ylabel() and distance.get_xlabel() == "flow time"
    edges = {line.get_ydata()[0] for line in sharpness.lines if line.get_linestyle() == "--"}
    assert edges == {20.0, 10.0, 5.0}
    curves = [line.get_xydata().tolist() for line in sharpness.lines if len(line.get_xdata()) == 3]
    thin = [[[0.0, 10.0 + seed], [1.0, 11.0 + seed], [2.0, 12.0 + seed]] for seed in (0, 1)]
    thick = [[0.0, 10.5], [1.0, 11.5], [2.0, 12.5]]
    assert curves == [*thin, thick] * 4
    assert (len(loss.lines), len(distance.lines)) == (4 * 3, 3 * 3)
    named = [text.get_text() for text in loss.get_legend().get_texts()]
    assert named == ["η = 0.1", "η = 0.2", "η = 0.4"]


def test_each_optimizer_is_drawn_with_its_edge_and_each_schedule_with_its_moving_one(
    tmp_path: Path,
) -> None:
    rows = [
        {"optimizer": name, "case": name, "seed": seed, "learning_rate": rate, "edge": edge}
        | {"iteration": step, "sharpness": 10.0 * step + seed}
        for name, rate, edge in (("A", 0.5, 2.6), ("B", 0.1, 38.0))
        for seed in (0, 1)
        for step in (1, 2, 3)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["optimizer-edges"].draw(tmp_path / "study.csv")
    for axes, edge, rate in zip(figure.axes, (2.6, 38.0), (0.5, 0.1), strict=True):
        *curves, line = axes.lines
        assert line.get_ydata()[0] == edge
        expected = [[10 * rate * step + rate * seed for step in (1, 2, 3)] for seed in (0, 1)]
        assert [curve.get_ydata().tolist() for curve in curves] == [
            pytest.approx(values) for values in expected
        ]
    rows[-1]["learning_rate"] = 0.05
    rows[8]["learning_rate"] = 0.0  # seed 0 of B: a step without an edge
    pd.DataFrame(rows).to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["schedules"].draw(tmp_path / "study.csv")
    first, second = figure.axes[:2]
    assert first.lines[-1].get_ydata().tolist() == [4.0, 4.0, 4.0]
    assert second.lines[-1].get_xydata().tolist() == [[1.0, 20.0], [2.0, 20.0]]
    assert second.lines[1].get_ydata().tolist() == [11.0, 21.0, 31.0]


def test_an_instability_is_drawn_with_its_span_and_three_scans(tmp_path: Path) -> None:
    places = ["stable"] * 2 + ["unstable"] * 3 + ["after"]
    course = [
        {"part": "course", "seed": seed, "learning_rate": 0.4, "place": place, "swing": 10.0**step}
        | {"iteration": step, "sharpness": 4.0 + step, "second": 3.0, "change": 0.1 * (step + 3)}
        for seed in (0, 1)
        for step, place in enumerate(places, -2)
    ]
    scan = [
        {"part": "scan", "seed": seed, "learning_rate": 0.4, "place": place, "sharpness": 5.1}
        | {"alpha": alpha, "loss": 1 + number + alpha**2, "quadratic_loss": 1 + number}
        for seed in (0, 1)
        for number, place in enumerate(("stable", "unstable", "after"))
        for alpha in (-1.0, 0.0, 1.0, 2.0)
    ]
    pd.DataFrame(course + scan).to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["instabilities"].draw(tmp_path / "study.csv")
    sharpness, swing, change, *scans = figure.axes
    (shade,) = swing.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (0, 2)
    assert sharpness.lines[0].get_ydata() == pytest.approx([0.4 * (2 + step) for step in range(6)])
    assert swing.lines[0].get_ydata() == pytest.approx([10.0**step for step in range(-2, 4)])
    assert change.lines[0].get_ydata() == pytest.approx([0.1 * step for step in range(1, 7)])
    for number, axes in enumerate(scans):
        loss, quadratic, start, end = (line.get_ydata().tolist() for line in axes.lines)
        assert loss == [2.0 + number, 1.0 + number, 2.0 + number, 5.0 + number]
        assert quadratic == [1.0 + number] * 4
        assert (start, end) == ([1.0 + number], [2.0 + number])
        assert axes.get_title().endswith("2.040")


def test_spectra_are_drawn_as_counts_above_each_value(tmp_path: Path) -> None:
    values = [-1.0, 0.0, 0.5, 2.0]
    rows = [
        {
            "kind": "counts",
            "matrix": matrix,
            "phase": phase,
            "value": value,
            "count_exact": exact,
            "count": exact + 0.5,
            "count_error": 0.25,
            "law": 100.0 - value if phase == "after" else None,
        }
        for matrix in ("hessian", "gauss_newton")
        for phase in ("before", "in", "after")
        for value, exact in zip(values, (300, 20, 4, 0), strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "study.csv", index=False)
    figure = STUDIES["spectral-density"].draw(tmp_path / "study.csv")
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert axes.get_ylabel() == "eigenvalues above x"
        counted, estimated, *law = (line.get_xydata().tolist() for line in axes.lines)
        assert counted == [[-1, 300], [0, 20], [0.5, 4], [2, 0]]
        assert [y for _, y in estimated] == [300.5, 20.5, 4.5, 0.5]
        assert bool(law) == ("after" in axes.get_title())
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["−1", "", "0", "0.01", "1"]
