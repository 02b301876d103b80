"""The drawing of the study of momentum, RMSprop and Adam, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import style


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(P⁻¹𝓗)η against the steps, a panel per optimizer with its edge, a curve per seed."""
    names = list(frame["optimizer"].unique())
    figure, panels, _ = style.panels(len(names), 2, title, share_x=False)
    for axes, name in zip(panels, names, strict=True):
        runs = frame[frame["optimizer"] == name]
        edge, rate = runs["edge"].iloc[0], runs["learning_rate"].iloc[0]
        for _, run in runs.groupby("seed"):
            axes.plot(run["iteration"], run["sharpness"] * rate, color=style.FIRST, lw=0.8)
        axes.axhline(edge, color=style.SECOND, lw=1.0, ls="--", zorder=3)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{name}, η = {rate:g}: the edge is {edge:.4g}")
    for axes in panels[-2:]:
        axes.set_xlabel("step")
    for axes in panels[::2]:
        axes.set_ylabel(r"$\lambda_1(P^{-1}\mathcal{H})\,\eta$")
    edge = {"color": style.SECOND, "lw": 1.0, "ls": "--"}
    seed = {"color": style.FIRST, "lw": 0.8}
    style.legend(figure, {"one seed each": seed, "edge of a quadratic": edge}, 2)
    return figure
