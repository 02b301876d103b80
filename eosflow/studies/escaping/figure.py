"""The drawing of the study of the sharpest direction of SGD's steps, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eosflow.analysis import style
from eosflow.studies.escaping import ONLY, REMOVED, WHOLE

QUANTITIES = {"sharpness": r"sharpness $\lambda_1(\mathcal{H})$", "loss": "loss"}
COLORS = {REMOVED: style.SECOND, WHOLE: style.INK, ONLY: style.FIRST}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) and the loss against the iteration: each seed thin, the median of each method thick.

    frame: with seed, method, iteration and the two quantities.
    """
    figure, panels, _ = style.panels(len(QUANTITIES), 2, title)
    for axes, (name, label) in zip(panels, QUANTITIES.items(), strict=True):
        for method, color in COLORS.items():
            courses = frame[frame["method"] == method].pivot(
                index="iteration", columns="seed", values=name
            )
            axes.plot(courses.index, courses, color=color, lw=0.6, alpha=0.5)
            axes.plot(courses.index, courses.median(axis=1), color=color, lw=1.8)
        axes.set_title(label)
        axes.set_xlabel("iteration")
        style.log_axis(axes)
    handles = [
        Line2D([], [], color=color, lw=1.8, label=method) for method, color in COLORS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
