"""Drawings of the studies beyond the paper, each of its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from eosflow.analysis import style

MARKERS = {
    "exponential Euler": "o-",
    "exponential Heun": "s-",
    "exponential Rosenbrock": "D-",
    "RK4": "^--",
    "gradient descent": "X",
}
COLORS = (style.FIRST, style.SECOND, "#cc79a7", "#009e73", style.INK)


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Relative distance to the true flow against work in block products, one panel per flow
    time.

    Lower left is better. Runs that did not stay on the flow (errors above 1 or not finite) lie
    on the upper edge, hollow.
    """
    times = sorted(frame["flow_time"].unique())
    looks = zip(MARKERS.items(), COLORS, strict=True)
    drawn = [look for look in looks if look[0][0] in set(frame["scheme"])]
    figure = Figure(figsize=(style.WIDTH, 3.2), layout="constrained")
    panels = figure.subplots(1, len(times), sharey=True, squeeze=False)[0]
    for axes, time in zip(panels, times, strict=True):
        for (scheme, marker), color in drawn:
            rows = frame[(frame["scheme"] == scheme) & (frame["flow_time"] == time)]
            rows = rows.sort_values("step")
            good = rows[rows["relative_error"] <= 1]
            axes.loglog(
                good["work"], good["relative_error"], marker, color=color, ms=4, label=scheme
            )
            lost = rows.drop(good.index)
            axes.loglog(lost["work"], [1.0] * len(lost), marker[0], color=color, ms=4, mfc="none")
        axes.set_title(f"flow time {time:g}")
        axes.set_xlabel("work (block products)")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("distance to the flow / distance travelled")
    columns = len(drawn) if len(drawn) <= 4 else 3
    handles = panels[-1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns)
    figure.suptitle(title, x=0.01, ha="left", color=style.INK, fontweight="bold")
    return figure
