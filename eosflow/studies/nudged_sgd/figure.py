"""The drawing of the study of Nudged-SGD, from its table."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style

# Of each panel the columns, and what the first and the last of them are called.
PANELS = {
    "training loss": {"loss": "end"},
    "held-out accuracy": {"early_held_out_accuracy": "early", "held_out_accuracy": "end"},
    r"sharpness $\lambda_1(\mathcal{H})$": {
        "sharpness_start": "start",
        "sharpness_max": "largest",
        "sharpness_end": "end",
    },
    "distance from the start": {"distance": "end"},
}
COLORS = {"early": style.MUTED, "start": style.MUTED, "largest": style.SECOND, "end": style.FIRST}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Loss, accuracy, sharpness and distance by γ: a mark per run, a bar at the median.

    A run that diverged has no mark where its number is missing.
    """
    groups = list(frame.groupby(["network", "n"], sort=False))
    figure, panels, _ = style.panels(4 * len(groups), 2, title, share_x=False)
    for row, ((network, n), runs) in enumerate(groups):
        for axes, (title, columns) in zip(panels[4 * row :], PANELS.items(), strict=False):
            _panel(axes, runs, columns)
            axes.set_title(f"{network}, N = {n}")
            axes.set_ylabel(title)
            if "accuracy" not in title:
                style.log_axis(axes)
    return figure


def _panel(axes: Axes, runs: pd.DataFrame, columns: dict[str, str]) -> None:
    methods = list(runs.sort_values("gamma", na_position="last").groupby("gamma", dropna=False))
    for left, (_, chosen) in enumerate(methods):
        for number, (column, word) in enumerate(columns.items()):
            at = left + 0.2 * (number - (len(columns) - 1) / 2)
            color = COLORS[word]
            axes.plot([at] * len(chosen), chosen[column], "o", ms=3, mfc="none", color=color)
            axes.plot([at - 0.1, at + 0.1], [chosen[column].median()] * 2, color=color, lw=1.6)
    names = [_label(float(gamma), chosen) for gamma, chosen in methods]  # type: ignore[arg-type]
    axes.set_xticks(range(len(names)), names)
    if len(columns) > 1:
        for word in columns.values():
            axes.plot([], [], "o", ms=3, mfc="none", color=COLORS[word], label=word)
        axes.legend(loc="best", fontsize=6)


def _label(gamma: float, runs: pd.DataFrame) -> str:
    lost = int((runs["stopped"] == "diverged").sum())
    name = "Dominant" if math.isnan(gamma) else f"γ = {gamma:g}"
    return f"{name}\n({lost} diverged)" if lost else name
