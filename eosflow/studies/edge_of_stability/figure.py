"""The drawing of gradient descent against the flow."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import seeds, style
from eosflow.studies.base import FLOW

QUANTITIES = {
    "sharpness": r"sharpness $\lambda_1(\mathcal{H})$",
    "loss": "loss",
    "distance": "distance from the flow",
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) with 2/η dashed, loss and distance from the flow; one row of panels per problem."""
    names = [name for name in QUANTITIES if name in frame]
    problems = list(frame["problem"].unique())
    count = len(problems) * len(names)
    figure, panels, _ = style.panels(count, len(names), title, share_x=False)
    for row, problem in enumerate(problems):
        runs = frame[frame["problem"] == problem]
        beside = panels[row * len(names) : (row + 1) * len(names)]
        for axes, name in zip(beside, names, strict=True):
            _draw(axes, runs, name)
        count = runs["seed"].nunique()
        beside[0].set_title(f"{problem}, {count} seed{'s' * (count > 1)}")
        beside[1].legend(fontsize=6, loc="lower left")  # learning rates differ by problem
    edge = {"color": style.MUTED, "lw": 0.8, "ls": "--"}
    style.legend(figure, {FLOW: {"color": style.INK, "lw": seeds.THICK}, "2/η": edge}, 2)
    return figure


def _draw(axes: Axes, runs: pd.DataFrame, name: str) -> None:
    axes.set(xlabel="flow time", ylabel=QUANTITIES[name])
    if name != "distance":  # its distance from itself is none
        seeds.lines(axes, runs[runs["method"] == FLOW], "flow_time", name, style.INK)
    shades = seeds.colors(runs["learning_rate"].dropna())
    for rate, color in shades.items():
        run = runs[runs["learning_rate"] == rate]
        seeds.lines(axes, run, "flow_time", name, color, f"η = {rate:.3g}")
        if name == "sharpness":
            axes.axhline(2 / rate, color=color, lw=0.8, ls="--")
    if name == "loss":
        style.log_axis(axes)
