"""A quantity against iteration or flow time: run by run, and the median at each N."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eosflow.analysis import style
from eosflow.results import run_summaries
from eosflow.results.run_summaries import IDENTITY, transient

AXES_OF_TIME = {"iteration": "iteration", "flow_time": "gradient-flow time t"}
Curve = NDArray[np.float64]
# On a linear axis a run that is shorter than the longest by more than this is crushed at the left.
CRUSHED = 4
# Of the width of a panel: a narrower band cannot be seen.
NARROWEST_BAND = 0.02
QUARTILES = (0.25, 0.5, 0.75)
NORM_OF_LAYER = r"$\mathrm{E}\,\Vert M_{%d}\Vert^2$"


@dataclass(frozen=True)
class Panel:
    """One panel: its title and the quantity it shows, one value per row of the frame.

    `bound` is a value that the quantity cannot exceed.
    """

    title: str
    values: pd.Series
    bound: float | None = None


def sharpness(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """λ₁ of 𝓗, G and R (E1–E3), on one scale, and λ₁(𝓗)/λ₁(G), which that scale cannot show."""
    ratio = frame["sharpness_hessian"] / frame["sharpness_gauss_newton"]
    panels = [
        Panel(r"$\lambda_1(\mathcal{H})$, Hessian", frame["sharpness_hessian"]),
        Panel(r"$\lambda_1(G)$, Gauss–Newton", frame["sharpness_gauss_newton"]),
        Panel(r"$\lambda_1(R)$, residual", frame["sharpness_residual"]),
        Panel(r"ratio $\lambda_1(\mathcal{H})\,/\,\lambda_1(G)$", ratio),
    ]
    return _grid(frame, title, against, panels, columns=2, groups=(3,))


def overlap(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖M‖² and the overlap ratio ω, whose product is λ₁(G) (E5)."""
    panels = [
        Panel(r"$\mathrm{E}\,\Vert M\Vert^2$", frame["m_norm2"]),
        Panel(r"overlap ratio $\omega$", frame["overlap"], bound=1.0),
    ]
    return _grid(frame, title, against, panels, columns=2, shared=False)


def layers_three(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖M_l‖² (E7) for the first, a middle and the last hidden layer: l = 1, 3, 5 of 6."""
    last = run_summaries.layer_count(frame) - 1
    panels = _by_layer(frame, NORM_OF_LAYER, "layer_norm2")
    shown = sorted({1, (last + 1) // 2, last} - {0})
    return _grid(frame, title, against, [panels[layer - 1] for layer in shown])


def layers(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖M_l‖² (E7) of every layer."""
    return _grid(frame, title, against, _by_layer(frame, NORM_OF_LAYER, "layer_norm2"))


def factors(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """The five factors of E‖M_1‖² and their product (E12), all over the same number of decades."""
    values = run_summaries.factors(frame)
    titles = {
        "activation_ratio": r"activation ratio $\rho_1$",
        "activation_norm2": r"inputs, $\mathrm{E}[1+\Vert a_0\Vert^2]$",
        "criterion_norm2": r"criterion, $\mathrm{E}\,\Vert H_\ell^{1/2}\Vert^2$",
        "jacobian_product": r"Jacobians, $\prod\,\mathrm{E}\,\Vert D_j\Vert^2$",
        "alignment": r"alignment $A_1$",
    }
    panels = [Panel(titles[name], values[name]) for name in run_summaries.FACTORS]
    panels.append(Panel(r"product: $\mathrm{E}\,\Vert M_1\Vert^2$", frame["layer_norm2_1"]))
    return _grid(frame, title, against, panels, shared=False)


def activation_ratios(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """ρ_l of every layer and the activation growth γ_l (E11)."""
    ratios = _by_layer(frame, r"activation ratio $\rho_{%d}$", "activation_ratio")
    growths = _by_layer(frame, r"activation growth $\gamma_{%d}$", "activation_growth", above=1)
    groups = (len(ratios),)
    return _grid(frame, title, against, [*ratios, *growths], shared=False, groups=groups)


def alignment(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """The alignment ratio α_l (E10) of every pair of layers."""
    panels = _by_layer(frame, r"alignment ratio $\alpha_{%d}$", "alignment", above=1)
    return _grid(frame, title, against, panels)


def jacobian_norms(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖D_l‖² of every layerwise Jacobian."""
    words = r"$\mathrm{E}\,\Vert D_{%d}\Vert^2$"
    return _grid(frame, title, against, _by_layer(frame, words, "jacobian_norm2", above=1))


def cumulative_alignment(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """A_l = Π_{j≥l} α_j (E10) from every layer to the output."""
    last = run_summaries.layer_count(frame) - 1
    values = {
        f"product_{layer}": run_summaries.cumulative_alignment(frame, layer)
        for layer in range(1, last + 1)
    }
    words = r"cumulative alignment $A_{%d}$"
    return _grid(frame, title, against, _by_layer(frame.assign(**values), words, "product", 1))


def _by_layer(frame: pd.DataFrame, words: str, column: str, above: int = 0) -> list[Panel]:
    """A panel for each layer, but for so many above the last."""
    layers = range(1, run_summaries.layer_count(frame) - above + 1)
    return [Panel(words % layer, frame[f"{column}_{layer}"]) for layer in layers]


def _grid(
    frame: pd.DataFrame,
    title: str,
    against: str,
    contents: Sequence[Panel],
    columns: int = 3,
    shared: bool = True,
    groups: Sequence[int] = (),
) -> Figure:
    """Draw the panels, which share their vertical limits, or else only the number of decades.

    `groups` cuts the panels, at these places, into sets that each share their limits.
    """
    colors = style.size_colors(frame["n"])
    drawn = frame[frame["iteration"] >= transient(frame)]
    logarithmic = is_logarithmic(drawn, against)
    if logarithmic:  # which has no place for 0
        drawn = drawn[drawn[against] > 0]
    figure, axes, cell = style.panels(len(contents), columns, title)
    for panel, content in zip(axes, contents, strict=True):
        panel.set_xscale("log" if logarithmic else "linear")
        # A logarithm has no place for λ₁(R) ≤ 0 either: the curves have a gap there.
        values = content.values[drawn.index]
        _curves(panel, drawn, values.where(values > 0), against, colors)
        panel.set_title(content.title, loc="left")
    shown = [panel for panel in axes if panel.collections]
    if shared or groups:
        for group in _cut(axes, groups):
            _share_limits([panel for panel in group if panel in shown])
    else:
        style.same_decades(shown)
        _below_bounds(axes, contents)
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
    for n, reached in itertools.product(colors, (True, False)):
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


def _cut(axes: Sequence[Axes], places: Sequence[int]) -> list[Sequence[Axes]]:
    edges = [0, *places, len(axes)]
    return [axes[start:end] for start, end in itertools.pairwise(edges) if start < end]


def _share_limits(group: Sequence[Axes]) -> None:
    if not group:
        return
    limits = [panel.get_ylim() for panel in group]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    pad = (high / low) ** 0.03  # the panel that reaches the shared limit needs room too
    for panel in group:
        panel.set_ylim(low / pad, high * pad)


def _below_bounds(axes: Sequence[Axes], contents: Sequence[Panel]) -> None:
    """Move the limits down, over as many decades, if they reach above what is possible."""
    for panel, content in zip(axes, contents, strict=True):
        low, high = panel.get_ylim()
        if content.bound is not None and high > 1.1 * content.bound:
            panel.set_ylim(low / high * 1.1 * content.bound, 1.1 * content.bound)


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
