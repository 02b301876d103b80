"""The figures that sum up runs: the power law, the stable step, the growth of the factors."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eosflow.analysis import style
from eosflow.results import power_laws, run_summaries
from eosflow.results.figures import EXPERIMENTS, title_of

QUANTITIES = {
    "layer_norm2_1": r"$\mathrm{E}\,\Vert M_1\Vert^2$",
    "activation_ratio": r"$\rho_1$",
    "activation_norm2": "inputs",
    "criterion_norm2": "criterion",
    "jacobian_product": "Jacobians",
    "alignment": r"$A_1$",
}


def power_law(decomposition: pd.DataFrame, runs: pd.DataFrame, title: str) -> Figure:
    """Peak A_1 of each finished run against N, the fit (E14) and the paper's, each with a band."""
    finished = run_summaries.finished(decomposition, runs)
    peaks = run_summaries.alignment_peaks(finished)

    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        looks = {"s": 12, "alpha": 0.6, "linewidth": 0, "color": style.FIRST}
        sns.scatterplot(rows, x="n", y="alignment", ax=axes, **looks)
        key = [str(rows[name].iloc[0]) for name in ("experiment", "dataset", "criterion")]
        sizes = np.geomspace(rows["n"].min() / 1.25, rows["n"].max() * 1.25, 50)
        if paper := power_laws.paper_fit(*key):
            _, low, high = power_laws.paper_law(paper, sizes)
            axes.fill_between(sizes, low, high, color=style.SECOND, alpha=0.35, lw=0, zorder=1)
        reason = power_laws.why_not(rows["n"], rows["alignment"])
        if reason:
            text = textwrap.fill(f"no fit: {reason}", 34)
        else:
            seeds = rows["subset_seed"], rows["init_seed"]
            law = power_laws.fit(rows["n"], rows["alignment"], *seeds)
            _draw_law(axes, law, sizes)
            text = _law_in_words(law)
        if paper:
            text += f"\npaper: $b$ = {paper.b:.2f}, $a$ = {paper.a:.2g}"
        axes.set_title(text, loc="left", fontsize=6.8)
        axes.set(
            yscale="log", xscale="log", xlabel="number of examples N", ylabel="peak alignment $A_1$"
        )
        axes.set_xlim(sizes[0] / 1.1, sizes[-1] * 1.1)
        style.log_time_axis(axes)
        style.log_axis(axes)

    handles: list[Artist] = [
        Line2D([], [], marker="o", ls="", color=style.FIRST, ms=3.5, label="one run"),
        Line2D([], [], color=style.INK, lw=1.0, label="fit, with 95 % band over subsets"),
    ]
    if not EXPERIMENTS.keys().isdisjoint(peaks["experiment"]):
        label = "paper's law, rounded as in its Table 2"
        handles.append(Patch(color=style.SECOND, alpha=0.35, lw=0, label=label))
    return _by_experiment(finished, peaks, title, panel, handles)


def _draw_law(axes: Axes, law: power_laws.PowerLaw, sizes: np.ndarray) -> None:
    band = law.band(sizes)
    axes.fill_between(
        sizes, band["low"], band["high"], color=style.MUTED, alpha=0.18, lw=0, zorder=1
    )
    axes.plot(sizes, band["fit"], color=style.INK, linewidth=1.0, zorder=1.5)


def _law_in_words(law: power_laws.PowerLaw) -> str:
    """The bend first: if it is not 0 the points follow no power law."""
    bend = _with_interval("bend", law.bend, law.bend_low, law.bend_high)
    b = _with_interval("$b$", law.b, law.b_low, law.b_high)
    return f"{law.runs} runs, {bend}\n{b}\n$a$ = {law.a:.2g}, $R^2$ = {law.r_squared:.2f}"


def _with_interval(name: str, value: float, low: float, high: float) -> str:
    interval = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{name} = {value:.2f}{interval}"


def stable_step(decomposition: pd.DataFrame, runs: pd.DataFrame, title: str) -> Figure:
    """2 / max λ₁(𝓗) and 2 / s_cf (E13) of each finished run against N."""
    finished = run_summaries.finished(decomposition, runs)
    steps = run_summaries.stable_steps(finished).dropna(subset="stable_step")

    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        both = rows.melt(
            "n", ["stable_step", "counterfactual_step"], var_name="which", value_name="step"
        )
        # Beside each other at every N: the runs, and a bar at their median.
        where: dict[str, Any] = {"data": both, "x": "n", "y": "step", "hue": "which", "ax": axes}
        where |= {"palette": [style.FIRST, style.SECOND], "log_scale": True, "legend": False}
        sns.stripplot(**where, dodge=True, jitter=False, native_scale=True, size=3.2, alpha=0.7)
        medians = {"estimator": "median", "errorbar": None, "linestyle": "none", "marker": "_"}
        sns.pointplot(**where, **medians, dodge=0.4, native_scale=True, markersize=9)
        _size_axis(axes, rows["n"])
        style.log_axis(axes)
        axes.set_ylabel("largest stable step\n(gradient-flow time)")

    handles = [
        Line2D([], [], marker="o", ls="", ms=3.5, color=color, label=label)
        for color, label in (
            (style.FIRST, r"as trained, 2 / max $\lambda_1$"),
            (style.SECOND, "alignment frozen after the transient (lower bound)"),
        )
    ]
    handles.append(Line2D([], [], marker="_", ls="", ms=9, color=style.MUTED, label="median"))
    return _by_experiment(finished, steps, title, panel, handles)


def growth(decomposition: pd.DataFrame, runs: pd.DataFrame, title: str) -> Figure:
    """How E‖M_1‖² and its five factors changed up to the peak of E‖M_1‖²: bars by N."""
    finished = run_summaries.finished(decomposition, runs)
    grown = run_summaries.growth(finished).dropna(subset=list(QUANTITIES))

    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        if (rows[list(QUANTITIES)] == 1).all(axis=None):
            first = QUANTITIES["layer_norm2_1"]
            style.say(axes, f"In every run {first}\nis largest at the start:\nno rise to explain.")
            axes.set_xticks([])
            return
        # Not seaborn's bars: they stand on 0, which a logarithmic axis of factors does not have.
        colors = style.shades(rows["n"])
        width = 0.8 / len(colors)
        for place, (n, color) in enumerate(colors.items()):
            values = rows.loc[rows["n"] == n, list(QUANTITIES)]
            mean = np.exp(np.log(values).mean())
            positions = np.arange(len(QUANTITIES)) + (place - (len(colors) - 1) / 2) * width
            axes.bar(positions, mean - 1, width * 0.92, bottom=1, color=color)
            axes.vlines(positions, values.min(), values.max(), color=style.INK, lw=0.6)
        axes.axhline(1, color=style.MUTED, lw=0.6)
        axes.set_yscale("log")
        style.log_axis(axes)
        axes.set_xticks(range(len(QUANTITIES)), list(QUANTITIES.values()), rotation=30, ha="right")
        axes.grid(False, axis="x")
        axes.set_ylabel("growth factor")
        handles = [Patch(color=color, label=f"N = {n:,}") for n, color in colors.items()]
        axes.legend(handles=handles, loc="upper center", fontsize=6.3, handlelength=1.0, ncols=2)
        axes.set_ylim(axes.get_ylim()[0], axes.get_ylim()[1] * _headroom(axes, 0.25))

    return _by_experiment(finished, grown, title, panel, [])


def _by_experiment(
    finished: pd.DataFrame,
    rows: pd.DataFrame,
    title: str,
    draw: Callable[[Axes, pd.DataFrame], None],
    handles: Sequence[Artist],
) -> Figure:
    """One panel per experiment with finished runs: the paper's, in its order, then any others.

    `rows` has one row per run that has the numbers; a panel without any says so.
    """
    present = set(run_summaries.after_transient(finished)["experiment"])
    names = [name for name in EXPERIMENTS if name in present]
    names += sorted(present - set(names))
    if not names:
        return style.notice(title, "No run has reached its target loss.")
    columns = 2 if len(names) == 4 else min(len(names), 3)
    count = math.ceil(len(names) / columns)
    figure = Figure(figsize=(style.WIDTH, 2.6 * count + 0.6), layout="constrained")
    grid = figure.subplots(count, columns, squeeze=False)
    for spare in list(grid.flat)[len(names) :]:
        spare.remove()
    for axes, name in zip(grid.flat, names, strict=False):
        chosen = rows[rows["experiment"] == name]
        if chosen.empty:
            style.say(axes, "The networks of these runs\nhave no such numbers.")
            axes.set_xticks([])
        else:
            draw(axes, chosen)
        words = axes.get_title(loc="left")
        axes.set_title("\n".join(filter(None, [title_of(name), words])), loc="left", fontsize=7)
    figure.suptitle(title, x=0.01, ha="left", color=style.INK, fontweight="bold")
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _size_axis(axes: Axes, sizes: pd.Series) -> None:
    """A logarithmic axis of N whose ticks are the sizes that were run."""
    axes.set_xscale("log")
    ticks = sorted(sizes.unique())
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.set_xticks([], minor=True)
    margin = 1.3 if len(ticks) > 1 else 3.0  # seaborn spreads a single size over a decade
    axes.set_xlim(ticks[0] / margin, ticks[-1] * margin)
    axes.set_xlabel("number of examples N")


def _headroom(axes: Axes, share: float) -> float:
    """The factor on the upper limit that leaves `share` of a logarithmic axis free at its top."""
    low, high = axes.get_ylim()
    return float((high / low) ** (share / (1 - share)))
