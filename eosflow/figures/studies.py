"""Drawings of the studies beyond the paper, each of a tidy frame."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from eosflow.figures import style

MARKERS = {
    "exponential Euler": "o-",
    "exponential Heun": "s-",
    "RK4": "^--",
    "gradient descent": "X",
}


def work_precision(frame: pd.DataFrame) -> Figure:
    """Relative distance to the true flow against work in block products, a panel a flow time.

    frame: scheme, step, flow_time, relative_error, work. Lower left is better. Runs that did not
    stay on the flow (errors above 1 or not finite) lie on the upper edge, hollow.
    """
    times = sorted(frame["flow_time"].unique())
    figure = Figure(figsize=(3.4 * len(times), 3.2), layout="constrained")
    panels = figure.subplots(1, len(times), sharey=True, squeeze=False)[0]
    for axes, time in zip(panels, times, strict=True):
        for (scheme, marker), color in zip(MARKERS.items(), COLORS, strict=True):
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
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle("How near to the true flow, for how much work")
    return figure


COLORS = ("#1b6ca8", "#d1495b", "#3d8361", style.INK)
