"""The work-precision drawing shows every row of its table, lost runs on the upper edge."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from eosflow.results.figures.work_precision import MARKERS, work_precision


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
    figure = work_precision(tmp_path / "study.csv")
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
