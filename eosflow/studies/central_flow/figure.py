"""The drawing of the study of central flows, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import seeds, style
from eosflow.studies.base import CENTRAL, DESCENT, FLOW

COLORS = {DESCENT: style.MUTED, CENTRAL: style.SECOND, FLOW: style.FIRST}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Sharpness, mean loss and distance against flow time: a row of panels per problem.

    Drawn are the seeds of each problem at its middle learning rate.
    """
    problems = list(frame["problem"].unique())
    figure, panels, _ = style.panels(3 * len(problems), 3, title, share_x=False)
    for number, problem in enumerate(problems):
        runs = frame[frame["problem"] == problem]
        rates = sorted(runs["learning_rate"].unique())
        rate = rates[len(rates) // 2]
        chosen = runs[runs["learning_rate"] == rate]
        _row(panels[3 * number : 3 * number + 3], chosen, f"{problem}, η = {rate:g}", rate)
    looks = {name: {"color": COLORS[name], "lw": seeds.THICK} for name in COLORS}
    style.legend(figure, {**looks, "2/η": {"color": style.INK, "lw": 0.8, "ls": "--"}}, 4)
    return figure


def _row(axes: list[Axes], runs: pd.DataFrame, name: str, rate: float) -> None:
    sharpness, loss, distance = axes
    for method, color in COLORS.items():
        run = runs[runs["method"] == method]
        seeds.lines(sharpness, run, "flow_time", "sharpness", color)
        seeds.lines(loss, run, "flow_time", "mean_loss", color)
        if method != DESCENT:
            seeds.lines(distance, run, "flow_time", "distance", color)
    sharpness.axhline(2 / rate, color=style.INK, lw=0.8, ls="--")
    sharpness.set_title(f"{name}: sharpness")
    loss.set_title("mean loss")
    distance.set_title("distance from descent")
    style.log_axis(distance)
    for panel in axes:
        panel.set_xlabel("flow time")
