"""The drawing of the study of steps inside and outside of the top subspace, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import seeds, style
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, STALE

COLORS = {
    BEFORE: style.INK,
    DESCENT: style.INK,
    DOMINANT: style.FIRST,
    STALE: "#cc79a7",
    BULK: style.SECOND,
    NUDGED: "#009e73",
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """The loss and λ₁(𝓗)η with the edge dashed, against the iteration; the switch is dotted."""
    runs = frame.assign(edge=frame["sharpness"] * frame["learning_rate"])
    figure, panels, _ = style.panels(2, 2, title)
    switch = runs.loc[runs["method"] == BEFORE, "iteration"].max()
    labels = {"loss": "loss", "edge": r"$\lambda_1(\mathcal{H})\,\eta$"}
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        axes.axvline(switch, color=style.MUTED, lw=0.8, ls=":")
        axes.set(xlabel="iteration", ylabel=label)
        for method, color in COLORS.items():
            seeds.lines(axes, runs[runs["method"] == method], "iteration", name, color)
    style.log_axis(panels[0])
    panels[1].axhline(2, color=style.MUTED, lw=0.8, ls="--")
    methods = {method: color for method, color in COLORS.items() if method != BEFORE}
    style.legend(figure, {name: {"color": color} for name, color in methods.items()}, 3)
    return figure
