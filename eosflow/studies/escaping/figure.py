"""The drawing of SGD with, without and with only its sharpest direction."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import seeds, style
from eosflow.studies.escaping import ONLY, REMOVED, WHOLE

QUANTITIES = {"sharpness": r"sharpness $\lambda_1(\mathcal{H})$", "loss": "loss"}
COLORS = {REMOVED: style.SECOND, WHOLE: style.INK, ONLY: style.FIRST}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) and the loss against the iteration, a row of panels per start."""
    starts = list(frame["start"].unique())
    figure, panels, _ = style.panels(2 * len(starts), 2, title)
    for row, start in enumerate(starts):
        for axes, (name, label) in zip(panels[2 * row :], QUANTITIES.items(), strict=False):
            axes.set(xlabel="iteration", ylabel=label, title=f"cheb-4, from the {start}")
            for method, color in COLORS.items():
                runs = frame[(frame["start"] == start) & (frame["method"] == method)]
                seeds.lines(axes, runs, "iteration", name, color, method)
            style.log_axis(axes)
    named = panels[0].get_legend_handles_labels()
    figure.legend(*named, loc="outside lower center", ncols=3)
    return figure
