"""The drawing of the study of effective parameters, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style

OVER_TIME = {
    "sharpness": r"sharpness $\lambda_1(\mathcal{H})$",
    "effective": r"$N_\mathrm{eff}$, α = 0.01",
    "effective_relative": r"$N_\mathrm{eff}$, α = 0.01 $\lambda_1(G)$",
}
AT_THE_END = {
    "sharpness": r"at the end: $\lambda_1(\mathcal{H})$",
    "effective": r"at the end: $N_\mathrm{eff}$, α = 0.01",
    "of_hessian": r"at the end: the same sum over $\mathcal{H}$",
}
COLORS = ("#56b4e9", "#d55e00", "#009e73", "#0072b2")


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) and N_eff over flow time, medians over seeds, and at the end against η, every seed.

    frame: with seed, learning_rate, flow_time and the quantities.
    """
    count = len(OVER_TIME) + len(AT_THE_END)
    figure, panels, _ = style.panels(count, 3, title, share_x=False)
    for axes, (name, label) in zip(panels, OVER_TIME.items(), strict=False):
        _over_time(axes, frame, name)
        axes.set_title(label)
        axes.set_xlabel("flow time")
    end = frame[frame["flow_time"] == frame["flow_time"].max()]
    for axes, (name, label) in zip(panels[3:], AT_THE_END.items(), strict=True):
        medians = end.groupby("learning_rate")[name].median()
        axes.plot(medians.index, medians, color=style.MUTED, lw=1.0, zorder=1)
        axes.scatter(end["learning_rate"], end[name], s=10, color=style.INK, zorder=2)
        axes.set_title(label)
        axes.set_xlabel("learning rate η")
    panels[-1].set_yscale("symlog", linthresh=10)
    handles, _ = panels[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _over_time(axes: Axes, frame: pd.DataFrame, name: str) -> None:
    rates = sorted(frame["learning_rate"].unique())
    for rate, color in zip(rates, COLORS, strict=False):
        runs = frame[frame["learning_rate"] == rate]
        medians = runs.groupby("flow_time")[name].median()
        axes.plot(medians.index, medians, color=color, lw=1.2, label=f"η = {rate:g}")
