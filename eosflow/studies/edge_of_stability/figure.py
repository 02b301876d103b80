"""The drawing of the study of gradient descent against the flow, from its table."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eosflow.analysis import style
from eosflow.studies.base import FLOW

QUANTITIES = {
    "sharpness": r"sharpness $\lambda_1(\mathcal{H})$",
    "loss": "loss",
    "distance": "distance from the flow",
}
COLORS = ("#d55e00", "#009e73", "#0072b2")  # by falling 2/η
WORDS = ("small", "middle", "large")


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) with 2/η dashed, loss and distance from the flow; one row of panels per problem.

    frame: with problem, seed, method, learning_rate, flow_time and the three quantities, of which
    the distance may be missing. The first seed of each problem is drawn.
    """
    names = [name for name in QUANTITIES if name in frame]
    problems = list(frame["problem"].unique())
    count = len(problems) * len(names)
    figure, panels, _ = style.panels(count, len(names), title, share_x=False)
    for row, problem in enumerate(problems):
        runs = frame[frame["problem"] == problem]
        runs = runs[runs["seed"] == runs["seed"].min()]
        beside = panels[row * len(names) : (row + 1) * len(names)]
        for axes, name in zip(beside, names, strict=True):
            _draw(axes, runs, name)
            axes.set_title(f"{problem}: {QUANTITIES[name]}")
            axes.set_xlabel("flow time")
    handles = [Line2D([], [], color=style.INK, lw=1.6, label=FLOW)]
    rates = _rates(frame)
    own = [f"learning rate {rate:g}" for rate in rates]
    words = own if len(problems) == 1 else [f"{word} learning rate" for word in WORDS]
    for color, word in zip(_colors(len(words)), words, strict=True):
        label = f"gradient descent, {word}"
        handles.append(Line2D([], [], color=color, lw=1.0, label=label))
    handles.append(Line2D([], [], color=style.MUTED, lw=0.8, ls="--", label="2/η"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _rates(runs: pd.DataFrame) -> list[float]:
    return sorted(runs["learning_rate"].dropna().unique())


def _colors(count: int) -> list[str]:
    """One for each learning rate; a table of runs may have more of them than three."""
    if count <= len(COLORS):
        return list(COLORS[:count])
    return [to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0, 0.85, count))]


def _draw(axes: Axes, runs: pd.DataFrame, name: str) -> None:
    flow = runs[runs["method"] == FLOW]
    if name != "distance":  # its distance from itself is none
        axes.plot(flow["flow_time"], flow[name], color=style.INK, lw=1.6, zorder=3)
    rates = _rates(runs)
    for rate, color in zip(rates, _colors(len(rates)), strict=True):
        run = runs[runs["learning_rate"] == rate]
        axes.plot(run["flow_time"], run[name], color=color, lw=1.0)
        if name == "sharpness":
            axes.axhline(2 / rate, color=color, lw=0.8, ls="--")
    if name == "loss":
        style.log_axis(axes)
