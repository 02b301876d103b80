"""The style of all figures: sizes, colours, axes, the mark of the transient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from eosflow.analysis import TRANSIENT

WIDTH = 7.2  # inches: the text width of a page with narrow margins
PANEL_HEIGHT = 1.75  # inches
INK = "#222222"
MUTED = "#666666"
TRANSIENT_GREY = "#c9c9c9"
# Okabe and Ito's blue and vermilion, for two things compared.
FIRST, SECOND = "#0072b2", "#d55e00"


def applied() -> AbstractContextManager[None]:
    """The style, for the drawing done inside; the user's own settings are restored after it."""
    path = Path(__file__).with_name("figures.mplstyle")
    context: AbstractContextManager[None] = matplotlib.style.context(path, after_reset=True)
    return context


def shades(values: Iterable[float], lightest: float = 0.6) -> dict[Any, str]:
    """One colour for each value, darker for larger ones: viridis up to its share `lightest`."""
    ordered = sorted(set(values))
    places = np.linspace(lightest, 0.0, len(ordered)) if len(ordered) > 1 else np.array([0.3])
    colors = mpl.colormaps["viridis"](places)
    return {value: to_hex(color) for value, color in zip(ordered, colors, strict=True)}


def panels(
    count: int, columns: int, title: str, share_x: bool = True
) -> tuple[Figure, list[Axes], Axes | None]:
    """A figure with a title and a grid of `count` panels that share their horizontal axis, or not.

    Returns: the figure, the panels, and an empty cell for the legend if the grid leaves one.
    """
    rows = math.ceil(count / columns)
    legend_below = 0.35 if count == rows * columns else 0.0
    spacing = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.03, hspace=0.04)
    height = rows * PANEL_HEIGHT + 0.55 + legend_below
    figure = Figure(figsize=(WIDTH, height), layout=spacing)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share_x)
    axes = list(grid.flat)
    for panel in axes:
        # Off the axis, a narrow transient stays visible beside it.
        panel.spines["left"].set_position(("outward", 3))
    for cell in axes[count:]:
        cell.set_axis_off()
    # A panel above an empty cell is the last of its column and has to show the tick labels.
    for panel in axes[max(0, count - columns) : count]:
        panel.tick_params(labelbottom=True)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontweight="bold")
    return figure, axes[:count], axes[count] if count < len(axes) else None


def log_axis(axes: Axes) -> None:
    """A logarithmic vertical axis, its ticks readable over a part of a decade or over many."""
    axes.set_yscale("log", nonpositive="mask")
    axis = axes.yaxis
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    if decades > 2.5:
        axis.set_major_locator(LogLocator(base=10, numticks=6))
        axis.set_minor_locator(NullLocator())
        return
    if decades > 1:
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=12))
    elif decades > 0.35:
        steps = (1, 1.5, 2, 3, 5, 7) if decades > 0.6 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
        axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(nbins=4))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(_PlainLogFormatter())
    axis.set_minor_formatter(NullFormatter())


def log_time_axis(axes: Axes) -> None:
    """A logarithmic horizontal axis with plain numbers, and small ticks between the decades."""
    axis = axes.xaxis
    low, high = axes.get_xlim()
    labelled = (1,) if math.log10(high / low) > 1.5 else (1, 2, 5)
    axis.set_major_locator(LogLocator(base=10, subs=labelled, numticks=12))
    axis.set_minor_locator(LogLocator(base=10, subs=range(2, 10), numticks=12))
    axis.set_major_formatter(_PlainLogFormatter())
    axis.set_minor_formatter(NullFormatter())


def say(axes: Axes, text: str) -> None:
    """A panel that says why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=6.8)
    axes.set_yticks([])
    axes.grid(False)


class _PlainLogFormatter(LogFormatter):
    """0.0002, 0.5, 20 and 5,000 as such; powers of ten beyond that."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if x <= 0:
            return ""
        if 1e-4 <= x < 1e5:
            return f"{x:,.6g}"
        exponent = math.floor(math.log10(x) + 1e-9)
        mantissa = x / 10**exponent
        power = rf"10^{{{exponent}}}"
        return rf"${power}$" if abs(mantissa - 1) < 1e-6 else rf"${mantissa:.3g}\times{power}$"


def same_decades(group: Sequence[Axes], headroom: float = 1.08) -> None:
    """Give logarithmic panels the same number of decades each, so that slopes compare."""
    spans = [math.log10(high / low) for low, high in (panel.get_ylim() for panel in group)]
    widest = max(spans) * headroom
    for panel, span in zip(group, spans, strict=True):
        low, high = panel.get_ylim()
        extra = 10 ** ((widest - span) / 2)
        panel.set_ylim(low / extra, high * extra)


def mark_transient(axes: Axes, end: float = TRANSIENT) -> None:
    """Shade the transient, from the start to `end` in the axis's units; nothing is drawn in it."""
    axes.axvspan(0, end, color=TRANSIENT_GREY, linewidth=0, zorder=0)
    axes.axvline(end, color=MUTED, linewidth=0.5, linestyle=(0, (1, 2)), zorder=0.5)


def size_legend(
    figure: Figure,
    colors: dict[int, str],
    cut_off: bool,
    cell: Axes | None = None,
    transient: bool = True,
) -> None:
    """The legend: each N, runs above their target loss, the transient."""
    looks: dict[str, dict[str, Any]] = {
        f"N = {n:,}": {"color": color, "linewidth": 1.8} for n, color in colors.items()
    }
    if cut_off:
        looks["above its target loss"] = {"color": MUTED, "linewidth": 1.0, "linestyle": "--"}
    patch = Patch(color=TRANSIENT_GREY, label=f"transient (iteration < {TRANSIENT})")
    legend(figure, looks, 7, cell, [patch] * transient)


def legend(
    figure: Figure,
    looks: Mapping[str, Mapping[str, Any]],
    columns: int,
    cell: Axes | None = None,
    others: Sequence[Artist] = (),
) -> None:
    """A legend of lines by their labels, then of `others`, in an empty cell or below the panels."""
    handles = [*(Line2D([], [], label=label, **look) for label, look in looks.items()), *others]
    if cell is None:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns))
    else:
        cell.legend(handles=handles, loc="center")


def notice(title: str, text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontweight="bold")
    figure.text(0.5, 0.45, text, ha="center", va="center", color=MUTED, wrap=True)
    return figure
