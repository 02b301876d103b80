"""The drawing of the study of learning rates and batch sizes, from its table."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import seeds, style
from eosflow.studies.sgd_grid.claims import axes as split

SHARPNESS = r"$\lambda_1(\mathcal{H})$"
WORDS = {"learning_rate": "learning rate", "batch": "batch"}
_GREYS = ("#111111", "#666666", "#aaaaaa")  # batch sizes; a colour is a learning rate
SYMBOLS = {"learning_rate": "$\\eta$", "batch": "$B$"}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁ and λ₂ over training by learning rate and by batch size, and λ₁ against η over the
    batch.

    Lines are medians over the seeds, thin ones single runs.
    """
    frame = frame[frame["stopped"] != "diverged"]
    groups = list(frame.groupby(["network", "n"], sort=False))
    figure, panels, _ = style.panels(3 * len(groups), 3, title, share_x=False)
    for row, ((network, n), runs) in enumerate(groups):
        shades = seeds.colors(runs["learning_rate"])  # the same in all panels
        beside = panels[3 * row : 3 * row + 3]
        for axes, chosen, name in zip(beside, split(runs), WORDS, strict=False):
            fixed = "batch" if name == "learning_rate" else "learning_rate"
            _courses(axes, chosen, name, shades)
            value = f"{SYMBOLS[fixed]} = {chosen[fixed].iloc[0]:g}"
            axes.set_title(f"{network}, N = {n}: by {WORDS[name]}, {value}")
        _against_quotient(beside[2], runs, shades)
    second = {"color": style.INK, "lw": 1.0, "ls": ":"}
    looks: dict[str, dict[str, Any]] = {
        f"{SHARPNESS}, median over the seeds": {"color": style.INK, "lw": 1.6},
        f"{SHARPNESS}, one run": {"color": style.INK, "lw": seeds.THIN},
        r"$\lambda_2(\mathcal{H})$, median": second,
    }
    style.legend(figure, looks, 3)
    return figure


def _courses(axes: Axes, runs: pd.DataFrame, name: str, shades: dict[float, str]) -> None:
    values = sorted(runs[name].unique())
    for value in values:
        color = shades[value] if name == "learning_rate" else _GREYS[values.index(value) % 3]
        chosen = runs[(runs[name] == value) & (runs["iteration"] > 0)]
        seeds.lines(axes, chosen, "iteration", "eigenvalue_1", color)
        median = chosen.groupby("iteration")[["eigenvalue_1", "eigenvalue_2"]].median()
        axes.plot(median.index, median["eigenvalue_2"], color=color, lw=1.0, ls=":")
        # Named at its end: a legend would lie on the thin lines.
        axes.annotate(
            f"{SYMBOLS[name]} = {value:g}",
            (median.index[-1], median["eigenvalue_1"].iloc[-1]),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=7,
        )
    axes.set(xlabel="iteration", ylabel="eigenvalues of the Hessian")
    style.log_axis(axes)


def _against_quotient(axes: Axes, runs: pd.DataFrame, shades: dict[float, str]) -> None:
    """The mean λ₁ of each run after its start, against η over the batch size."""
    later = runs[runs["iteration"] > 0]
    means = later.groupby(["learning_rate", "batch", "seed", "subset_seed"])["eigenvalue_1"].mean()
    found = means.reset_index()
    for rate, marker in zip(sorted(found["learning_rate"].unique()), "osD^v<>", strict=False):
        chosen = found[found["learning_rate"] == rate]
        quotient = chosen["learning_rate"] / chosen["batch"]
        (line,) = axes.plot(quotient, chosen["eigenvalue_1"], marker, ms=3, mfc="none")
        line.set(color=shades[rate], label=rf"$\eta$ = {rate:g}")
    axes.set(title="mean of each run", ylabel=SHARPNESS, xscale="log")
    axes.set_xlabel("learning rate $\\eta$ / batch size $B$")
    quotients = (found["learning_rate"] / found["batch"]).round(12).unique()
    axes.set_xticks(quotients, [f"{quotient:g}" for quotient in quotients], fontsize=7)
    axes.minorticks_off()
    style.log_axis(axes)
    axes.legend(loc="best", fontsize=6)
