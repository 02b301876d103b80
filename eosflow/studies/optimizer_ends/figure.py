"""The drawing of where optimizers end, from the study's table."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style
from eosflow.studies.optimizer_ends.table import EARLY, MEDIAN, QUARTILES

LINE = 0.24  # inches for each optimizer
COLUMNS = {
    "sharpness": r"sharpness $\lambda_1(\mathcal{H})$",
    "accuracy": "training accuracy (%)",
    "held_out_accuracy": "held-out accuracy (%)",
}
LOWER, _, UPPER = QUARTILES


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Sharpness and both accuracies of each optimizer, the sharpest on top; a row per problem.

    Marks are medians over the seeds, bars their quartiles.
    """
    known = frame[frame["statistic"].isin(QUARTILES)].dropna(subset=list(COLUMNS)).copy()
    if known.empty:
        return style.notice(title, "No optimizer has run.")
    known[["accuracy", "held_out_accuracy"]] *= 100
    problems = list(known.groupby("problem", sort=False))
    figure, panels, _ = style.panels(len(COLUMNS) * len(problems), len(COLUMNS), title, False)
    figure.set_figheight(sum(1.1 + LINE * part["method"].nunique() for _, part in problems))
    for row, (problem, part) in enumerate(problems):
        beside = panels[len(COLUMNS) * row : len(COLUMNS) * (row + 1)]
        beside[0].set_title(str(problem), loc="left")
        by = {statistic: each.set_index("method") for statistic, each in part.groupby("statistic")}
        methods = list(by[MEDIAN].sort_values("sharpness").index)
        for axes, (column, label) in zip(beside, COLUMNS.items(), strict=True):
            low, middle, high = (by[name].loc[methods, column] for name in (LOWER, MEDIAN, UPPER))
            _marks(axes, low, middle, high)
            axes.set_xlabel(label)
            axes.set_yticks(range(len(methods)), methods)
            axes.tick_params(labelleft=axes is beside[0])
        beside[0].set_xscale("log")
        style.log_time_axis(beside[0])
    return figure


def _marks(axes: Axes, low: pd.Series, middle: pd.Series, high: pd.Series) -> None:
    """A mark at the median of each method, and a bar from quartile to quartile."""
    for place, method in enumerate(middle.index):
        color = style.SECOND if method == EARLY else style.FIRST
        axes.plot([low[method], high[method]], [place, place], color=color, lw=1.2, alpha=0.6)
        axes.plot(middle[method], place, "o", color=color, ms=4)
    axes.grid(axis="y", visible=True)
