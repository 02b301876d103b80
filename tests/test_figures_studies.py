"""The drawings of the studies show every row of their tables."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from verdicts import drawn

from eosflow.analysis import seeds
from eosflow.studies.work_precision.figure import MARKERS


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
