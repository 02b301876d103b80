"""The figures in which every curve is one run: a quantity against iteration, coloured by N."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from eosflow.results import courses
from eosflow.results.courses import IDENTITY, transient
from eosflow.results.figures import style

AXES_OF_TIME = {
    "iteration": "iteration",
    "flow_time": "gradient-flow time t",
}


@dataclass(frozen=True)
class Panel:
    """One panel: its title and the quantity it shows, one value per row of the frame.

    `bound` is a value that the quantity cannot exceed.
    """

    title: str
    values: pd.Series
    bound: float | None = None


def sharpness(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """λ₁ of 𝓗, G and R (E1–E3), on one scale."""
    panels = [
        Panel(r"$\lambda_1(\mathcal{H})$, Hessian", frame["sharpness_hessian"]),
        Panel(r"$\lambda_1(G)$, Gauss–Newton", frame["sharpness_gauss_newton"]),
        Panel(r"$\lambda_1(R)$, residual", frame["sharpness_residual"]),
    ]
    return _grid(frame, title, against, panels, columns=3, shared=True)


def overlap(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖M‖² and the overlap ratio ω, whose product is λ₁(G) (E5)."""
    panels = [
        Panel(r"$\mathrm{E}\,\Vert M\Vert^2$", frame["m_norm2"]),
        Panel(r"overlap ratio $\omega$", frame["overlap"], bound=1.0),
    ]
    return _grid(frame, title, against, panels, columns=2, shared=False)


def layers_three(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖M_l‖² (E7) for the first, a middle and the last hidden layer: l = 1, 3, 5 of 6."""
    last = courses.layer_count(frame) - 1
    shown = sorted({1, (last + 1) // 2, last} - {0})
    return _grid(frame, title, against, _layer_panels(frame, shown), columns=3, shared=True)


def layers(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖M_l‖² (E7) of every layer."""
    shown = range(1, courses.layer_count(frame) + 1)
    return _grid(frame, title, against, _layer_panels(frame, shown), columns=3, shared=True)


def factors(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """The five factors of E‖M_1‖² and their product (E12), all over the same number of decades."""
    values = courses.factors(frame)
    titles = {
        "activation_ratio": r"activation ratio $\rho_1$",
        "activation_norm2": r"inputs, $\mathrm{E}[1+\Vert a_0\Vert^2]$",
        "criterion_norm2": r"criterion, $\mathrm{E}\,\Vert H_\ell^{1/2}\Vert^2$",
        "jacobian_product": r"Jacobians, $\prod\,\mathrm{E}\,\Vert D_j\Vert^2$",
        "alignment": r"alignment $A_1$",
    }
    panels = [Panel(titles[name], values[name]) for name in courses.FACTORS]
    panels.append(Panel(r"product: $\mathrm{E}\,\Vert M_1\Vert^2$", frame["layer_norm2_1"]))
    return _grid(frame, title, against, panels, columns=3, shared=False)


def activation_ratios(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """ρ_l of every layer and the activation growth γ_l (E11)."""
    depth = courses.layer_count(frame)
    panels = [
        Panel(rf"activation ratio $\rho_{{{layer}}}$", frame[f"activation_ratio_{layer}"])
        for layer in range(1, depth + 1)
    ]
    panels += [
        Panel(rf"activation growth $\gamma_{{{layer}}}$", frame[f"activation_growth_{layer}"])
        for layer in range(1, depth)
    ]
    return _grid(frame, title, against, panels, columns=3, shared=False, groups=(depth,))


def alignment(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """The alignment ratio α_l (E10) of every pair of layers."""
    panels = [
        Panel(rf"alignment ratio $\alpha_{{{layer}}}$", frame[f"alignment_{layer}"])
        for layer in range(1, courses.layer_count(frame))
    ]
    return _grid(frame, title, against, panels, columns=3, shared=True)


def jacobian_norms(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """E‖D_l‖² of every layerwise Jacobian."""
    panels = [
        Panel(rf"$\mathrm{{E}}\,\Vert D_{{{layer}}}\Vert^2$", frame[f"jacobian_norm2_{layer}"])
        for layer in range(1, courses.layer_count(frame))
    ]
    return _grid(frame, title, against, panels, columns=3, shared=True)


def cumulative_alignment(frame: pd.DataFrame, title: str, against: str) -> Figure:
    """A_l = Π_{j≥l} α_j (E10) from every layer to the output."""
    panels = [
        Panel(rf"cumulative alignment $A_{{{layer}}}$", courses.cumulative_alignment(frame, layer))
        for layer in range(1, courses.layer_count(frame))
    ]
    return _grid(frame, title, against, panels, columns=3, shared=True)


def _layer_panels(frame: pd.DataFrame, shown: Sequence[int] | range) -> list[Panel]:
    return [
        Panel(rf"$\mathrm{{E}}\,\Vert M_{{{layer}}}\Vert^2$", frame[f"layer_norm2_{layer}"])
        for layer in shown
    ]


def _grid(
    frame: pd.DataFrame,
    title: str,
    against: str,
    contents: Sequence[Panel],
    columns: int,
    shared: bool,
    groups: Sequence[int] = (),
) -> Figure:
    """Draw the panels, which share their vertical limits, or else only the number of decades.

    `groups` cuts the panels, at these places, into sets that each share their limits.
    """
    colors = style.size_colors(frame["n"])
    drawn = frame["iteration"] >= transient(frame)
    figure, axes, cell = style.panels(len(contents), columns, title)
    for panel, content in zip(axes, contents, strict=True):
        _curves(panel, frame[drawn], content.values[drawn], against, colors)
        panel.set_title(content.title, loc="left")
    sets = _cut(axes, groups) if groups else [axes]
    if shared or groups:
        for group in sets:
            _share_limits(group)
    else:
        style.same_decades(axes)
        _below_bounds(axes, contents)
    _finish_time_axis(axes, frame, against)
    for panel in axes[columns * ((len(axes) - 1) // columns) :]:
        panel.set_xlabel(AXES_OF_TIME[against])
    for panel in axes:
        style.log_axis(panel)
    cut_off = bool((frame["stopped"] != "target_loss").any())
    style.size_legend(figure, colors, cut_off, cell, bool((transient(frame) > 0).any()))
    return figure


def _curves(
    panel: Axes, frame: pd.DataFrame, values: pd.Series, against: str, colors: dict[int, str]
) -> None:
    """One line collection per N and way to end (at the target or above it), labelled with N."""
    panel.set_yscale("log", nonpositive="mask")
    # A logarithm has no place for λ₁(R) ≤ 0: the curve has a gap there.
    positive = values.where(values > 0)
    crowd = len(frame.groupby(IDENTITY))
    done = frame["stopped"] == "target_loss"
    for n, reached in itertools.product(colors, (True, False)):
        rows = frame[(frame["n"] == n) & (done == reached)]
        if rows.empty:
            continue
        segments = [
            np.column_stack([run[against], positive[run.index]])
            for _, run in rows.sort_values("iteration").groupby(IDENTITY)
        ]
        lines = LineCollection(
            segments,
            colors=colors[n],
            linewidths=1.0 if crowd <= 20 else 0.6,
            alpha=0.9 if crowd <= 20 else 0.7,
            linestyles="-" if reached else "--",
            label=f"N = {n}",
            capstyle="round",
        )
        panel.add_collection(lines, autolim=False)
    known = positive.dropna()
    if len(known):
        low, high = known.min(), known.max()
        pad = max((high / low) ** 0.05, 1.02)
        panel.set_ylim(low / pad, high * pad)


def _cut(axes: Sequence[Axes], places: Sequence[int]) -> list[Sequence[Axes]]:
    edges = [0, *places, len(axes)]
    return [axes[start:end] for start, end in itertools.pairwise(edges) if start < end]


def _share_limits(group: Sequence[Axes]) -> None:
    limits = [panel.get_ylim() for panel in group if panel.collections]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    pad = (high / low) ** 0.03  # the panel that reaches the shared limit needs room too
    for panel in group:
        panel.set_ylim(low / pad, high * pad)


def _below_bounds(axes: Sequence[Axes], contents: Sequence[Panel]) -> None:
    """Move the limits down, over as many decades, where they reach above what is possible."""
    for panel, content in zip(axes, contents, strict=True):
        low, high = panel.get_ylim()
        if content.bound is not None and high > 1.1 * content.bound:
            panel.set_ylim(low / high * 1.1 * content.bound, 1.1 * content.bound)


def _finish_time_axis(axes: Sequence[Axes], frame: pd.DataFrame, against: str) -> None:
    if against == "iteration":
        transient_end = float(transient(frame).max())
    else:
        later = frame[frame["iteration"] >= transient(frame)]
        transient_end = float(later.groupby(IDENTITY)["flow_time"].min().max())
    for panel in axes:
        panel.set_xlim(0, float(frame[against].max()) * 1.01)
        if transient_end > 0:
            style.mark_transient(panel, transient_end)
