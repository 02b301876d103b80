"""The drawing of the study of steps inside and outside of the top subspace, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import style
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, STALE

COLORS = {
    BEFORE: style.INK,
    DESCENT: style.INK,
    DOMINANT: style.FIRST,
    STALE: "#cc79a7",
    BULK: "#f3b28a",
    NUDGED: "#009e73",
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """The loss and λ₁(𝓗)η with the edge dashed, against the iteration; the switch is dotted.

    frame: with learning_rate, seed, method, iteration, loss and sharpness. The first seed is
    drawn.
    """
    runs = frame[frame["seed"] == frame["seed"].min()]
    runs = runs.assign(edge=runs["sharpness"] * runs["learning_rate"])
    figure, panels, _ = style.panels(2, 2, title)
    switch = runs.loc[runs["method"] == BEFORE, "iteration"].max()
    labels = {"loss": "loss", "edge": r"$\lambda_1(\mathcal{H})\,\eta$"}
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        axes.axvline(switch, color=style.MUTED, lw=0.8, ls=":")
        for method, color in COLORS.items():
            run = runs[runs["method"] == method]
            axes.plot(run["iteration"], run[name], color=color, lw=_width(method))
        axes.set(xlabel="iteration", ylabel=label)
    style.log_axis(panels[0])
    panels[1].axhline(2, color=style.MUTED, lw=0.8, ls="--")
    methods = {method: color for method, color in COLORS.items() if method != BEFORE}
    looks = {name: {"color": color, "lw": _width(name)} for name, color in methods.items()}
    style.legend(figure, looks, 3)
    return figure


def _width(method: str) -> float:
    """Bulk-SGD is broad, to be seen under Nudged-SGD, which follows it."""
    return 3.5 if method == BULK else 1.4
