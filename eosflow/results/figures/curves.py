"""A quantity against iteration or flow time: run by run, and the median at each N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eosflow.analysis import style
from eosflow.results import run_summaries
from eosflow.results.run_summaries import IDENTITY, column, transient

AXES_OF_TIME = {"iteration": "iteration", "flow_time": "gradient-flow time t"}
Curve = NDArray[np.float64]
# On a linear axis a run that is shorter than the longest by more than this is crushed at the left.
CRUSHED = 4
# Of the width of a panel: a narrower band cannot be seen.
NARROWEST_BAND = 0.02
QUARTILES = (0.25, 0.5, 0.75)
TWO_COLUMNS = ("sharpness", "overlap")
BOUNDS = {"overlap": 1.0}  # what a quantity cannot exceed


class Panel(NamedTuple):
    """A column of `_quantities`, its title, and its scale: those of one share their limits.

    Panels without a scale span the same number of decades. With `above` there is a panel for each
    layer, but for so many above the last.
    """

    column: str
    title: str
    scale: str = ""
    above: int | None = None


_NORMS = Panel("layer_norm2_%d", r"$\mathrm{E}\,\Vert M_{%d}\Vert^2$", "layers", 0)
PANELS: dict[str, list[Panel]] = {
    "sharpness": [
        Panel("sharpness_hessian", r"$\lambda_1(\mathcal{H})$, Hessian", "eigenvalues"),
        Panel("sharpness_gauss_newton", r"$\lambda_1(G)$, Gauss–Newton", "eigenvalues"),
        Panel("sharpness_residual", r"$\lambda_1(R)$, residual", "eigenvalues"),
        Panel("ratio", r"ratio $\lambda_1(\mathcal{H})\,/\,\lambda_1(G)$", "ratio"),
    ],
    "overlap": [
        Panel("m_norm2", r"$\mathrm{E}\,\Vert M\Vert^2$"),
        Panel("overlap", r"overlap ratio $\omega$"),
    ],
    "layers_three": [_NORMS],
    "layers": [_NORMS],
    "factors": [
        Panel("activation_ratio", r"activation ratio $\rho_1$"),
        Panel("activation_norm2", r"inputs, $\mathrm{E}[1+\Vert a_0\Vert^2]$"),
        Panel("criterion_norm2", r"criterion, $\mathrm{E}\,\Vert H_\ell^{1/2}\Vert^2$"),
        Panel("jacobian_product", r"Jacobians, $\prod\,\mathrm{E}\,\Vert D_j\Vert^2$"),
        Panel("alignment", r"alignment $A_1$"),
        Panel("layer_norm2_1", r"product: $\mathrm{E}\,\Vert M_1\Vert^2$"),
    ],
    "activation_ratios": [
        Panel("activation_ratio_%d", r"activation ratio $\rho_{%d}$", "ratios", 0),
        Panel("activation_growth_%d", r"activation growth $\gamma_{%d}$", "growths", 1),
    ],
    "alignment": [Panel("alignment_%d", r"alignment ratio $\alpha_{%d}$", "layers", 1)],
    "jacobian_norms": [
        Panel("jacobian_norm2_%d", r"$\mathrm{E}\,\Vert D_{%d}\Vert^2$", "layers", 1)
    ],
    "cumulative_alignment": [Panel("product_%d", r"cumulative alignment $A_{%d}$", "layers", 1)],
}


def _panels(kind: str, depth: int) -> list[Panel]:
    """The panels of a network of this many layers."""
    panels = []
    for panel in PANELS[kind]:
        name, title, scale, above = panel
        if above is None:
            panels.append(panel)
        else:
            layers = range(1, depth + 1 - above)
            panels += [Panel(name % layer, title % layer, scale) for layer in layers]
    if kind == "layers_three":  # the first, a middle and the last hidden layer: l = 1, 3, 5 of 6
        panels = [panels[layer - 1] for layer in sorted({1, depth // 2, depth - 1} - {0})]
    return panels


def _quantities(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the factors of E‖M_1‖² (E12), A_l (E10) as `product_l`, and λ₁(𝓗)/λ₁(G)."""
    products = {
        f"product_{layer}": run_summaries.cumulative_alignment(frame, layer)
        for layer in range(1, run_summaries.layer_count(frame))
    }
    ratio = column(frame, "sharpness_hessian") / column(frame, "sharpness_gauss_newton")
    return frame.assign(ratio=ratio, **products, **run_summaries.factors(frame))


def draw(kind: str, frame: pd.DataFrame, title: str, against: str) -> Figure:
    """The curves of the snapshots of one experiment, in the panels of this kind."""
    contents = _panels(kind, run_summaries.layer_count(frame))
    columns = 2 if kind in TWO_COLUMNS else 3
    colors = style.shades(frame["n"])
    drawn = frame[frame["iteration"] >= transient(frame)]
    logarithmic = is_logarithmic(drawn, against)
    if logarithmic:  # which has no place for 0
        drawn = drawn[drawn[against] > 0]
    quantities = _quantities(drawn)
    figure, axes, cell = style.panels(len(contents), columns, title)
    scales: dict[str, list[Axes]] = {}
    for panel, content in zip(axes, contents, strict=True):
        panel.set_xscale("log" if logarithmic else "linear")
        # A logarithm has no place for λ₁(R) ≤ 0 either: the curves have a gap there.
        values = quantities[content.column]
        _curves(panel, drawn, values.where(values > 0), against, colors)
        panel.set_title(content.title, loc="left")
        if panel.collections:
            scales.setdefault(content.scale, []).append(panel)
    shown = [panel for panel in axes if panel.collections]
    for scale, group in scales.items():
        if scale:
            _share_limits(group)
        else:
            style.same_decades(group)
    for panel, content in zip(axes, contents, strict=True):
        # Moved down, over as many decades, if the limits reach above what is possible.
        low, high = panel.get_ylim()
        if high > 1.1 * (bound := BOUNDS.get(content.column, math.inf)):
            panel.set_ylim(low / high * 1.1 * bound, 1.1 * bound)
    banded = _finish_time_axis(axes, frame, drawn, against)
    for panel in axes[columns * ((len(axes) - 1) // columns) :]:
        panel.set_xlabel(AXES_OF_TIME[against])
    for panel in shown:
        style.log_axis(panel)
    cut_off = bool((frame["stopped"] != "target_loss").any())
    style.size_legend(figure, colors, cut_off, cell, banded)
    return figure


def is_logarithmic(frame: pd.DataFrame, against: str) -> bool:
    """Whether the axis of time is logarithmic: if the runs of an experiment differ in length."""
    ends = frame.groupby(IDENTITY)[against].max()
    return bool(ends.max() > CRUSHED * ends.min())


def _curves(
    panel: Axes, frame: pd.DataFrame, values: pd.Series, against: str, colors: dict[int, str]
) -> None:
    """Thin, one line per run, dashed if it ended above its target; then what they have in common.

    One line collection per N and way to end, labelled with N. A panel without values says so.
    """
    known = values.dropna()
    if known.empty:
        style.say(panel, "No run has a value above zero,\nwhich a logarithm needs.")
        return
    panel.set_yscale("log", nonpositive="mask")
    done = frame["stopped"] == "target_loss"
    alone = frame.drop_duplicates(IDENTITY)["n"].value_counts() == 1
    for n, reached in product(colors, (True, False)):
        segments = _segments(frame[(frame["n"] == n) & (done == reached)], values, against)
        if not segments:
            continue
        lines = LineCollection(
            segments,
            colors=colors[n],
            linewidths=1.4 if alone[n] else 0.5,
            alpha=0.9 if alone[n] else 0.6,
            linestyles="-" if reached else "--",
            label=f"N = {n}",
            capstyle="round",
        )
        panel.add_collection(lines, autolim=False)
    pad = max((known.max() / known.min()) ** 0.05, 1.02)
    panel.set_ylim(known.min() / pad, known.max() * pad)
    for n, color in colors.items():
        common = quartiles(_segments(frame[frame["n"] == n], values, against), panel.get_xscale())
        if common is None:
            continue
        times, low, middle, high = common
        panel.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0, zorder=1.5)
        panel.plot(times, middle, color=color, linewidth=1.4, label=f"median, N = {n}")


def _segments(frame: pd.DataFrame, values: pd.Series, against: str) -> list[Curve]:
    """The points (time, value) of each run, in their order."""
    return [
        np.column_stack([run[against], values[run.index]])
        for _, run in frame.sort_values("iteration").groupby(IDENTITY)
    ]


def quartiles(runs: Sequence[Curve], scale: str) -> Curve | None:
    """Quartiles and median of the runs of one N, as long as all of them go on.

    Between two snapshots a run is where its line is drawn: straight on the panel's axes. Where one
    has no logarithm, all three are missing. A median beyond the end of the shortest run would jump.

    Returns: times, lower quartile, median and upper quartile (4, times); None if no time is common
    to two runs.
    """
    if len(runs) < 2:
        return None
    along = np.log if scale == "log" else np.asarray
    start, end = max(run[0, 0] for run in runs), min(run[-1, 0] for run in runs)
    every = np.unique(np.concatenate([run[:, 0] for run in runs]))
    times = every[(every >= start) & (every <= end)]
    if len(times) < 2:
        return None
    heights = [np.interp(along(times), along(run[:, 0]), np.log(run[:, 1])) for run in runs]
    return np.vstack([times, np.exp(np.quantile(heights, QUARTILES, axis=0))])


def _share_limits(group: Sequence[Axes]) -> None:
    limits = [panel.get_ylim() for panel in group]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    pad = (high / low) ** 0.03  # the panel that reaches the shared limit needs room too
    for panel in group:
        panel.set_ylim(low / pad, high * pad)


def _finish_time_axis(
    axes: Sequence[Axes], frame: pd.DataFrame, drawn: pd.DataFrame, against: str
) -> bool:
    """Set the limits, and shade the transient if it can be seen; returns whether it can."""
    logarithmic = axes[0].get_xscale() == "log"
    start, end = float(drawn[against].min()), float(drawn[against].max())
    if against == "iteration":
        transient_end = float(transient(frame).max())
    else:
        has_one = drawn[transient(drawn) > 0]
        firsts = has_one.groupby(IDENTITY)["flow_time"].min()
        transient_end = float(firsts.max()) if len(firsts) else 0.0
    seen = not logarithmic and transient_end > NARROWEST_BAND * end
    for panel in axes:
        panel.set_xlim((start, end * 1.05) if logarithmic else (0, end * 1.01))
        if logarithmic:
            style.log_time_axis(panel)
        if seen:
            style.mark_transient(panel, transient_end)
    return seen
