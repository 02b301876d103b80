"""The drawing of the study of SGD's edge, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eosflow.analysis import style

QUANTITIES = {
    "batch_sharpness": "batch sharpness",
    "sharpness": r"sharpness $\lambda_1(\mathcal{H})$",
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Both sharpnesses over 2/η against the steps, a colour per batch size, medians over seeds
    with their quartiles."""
    figure, panels, _ = style.panels(2, 2, title)
    rate = frame["learning_rate"].iloc[0]
    colors = style.shades(int(size) for size in frame["batch"].unique())
    for axes, (name, words) in zip(panels, QUANTITIES.items(), strict=True):
        for size, runs in frame.groupby("batch"):
            over = runs.groupby("iteration")[name]
            low, middle, high = (over.quantile(q) * rate / 2 for q in (0.25, 0.5, 0.75))
            color = colors[int(str(size))]
            axes.plot(middle.index, middle, color=color, lw=1.2)
            axes.fill_between(middle.index, low, high, color=color, alpha=0.15, lw=0)
        axes.axhline(1, color=style.SECOND, lw=1.0, ls="--")
        axes.set_title(f"{words} over 2/η")
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
    full = max(colors)
    handles = [
        Line2D([], [], color=color, lw=1.2, label=f"all {size}" if size == full else str(size))
        for size, color in sorted(colors.items())
    ]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=len(colors))
    legend.set_title("batch size")
    return figure
