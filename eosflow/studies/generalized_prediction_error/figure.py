"""The drawing of the study of the prediction error, the evidence and noise on the weights."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style

WORDS = ("simple", "middle", "complex")
HEIGHT = 2.9  # inches, with the legends below the panels


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """E_test − E_train against p_eff; the evidence of three models; loss that noise adds."""
    figure, panels, _ = style.panels(3, 3, title, share_x=False)
    for axes, (part, draw) in zip(panels, PARTS.items(), strict=True):
        draw(axes, frame[frame["part"] == part].dropna(axis="columns", how="all"))
        # Below the panel: within it the lines of the middle one leave no room.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), fontsize=6.5)
    figure.set_figheight(HEIGHT)
    return figure


def _ridge(axes: Axes, rows: pd.DataFrame) -> None:
    ordered = rows.sort_values("effective")
    law = r"$2\sigma^2 p_\mathrm{eff}/n$"
    axes.plot(ordered["effective"], ordered["expected"], color=style.MUTED, lw=1.0, label=law)
    for column, marker, color, size, label in (
        ("gap", "o", style.FIRST, 3, "at the same inputs"),
        ("gap_elsewhere", "x", style.SECOND, 4, "at new inputs"),
    ):
        axes.plot(rows["effective"], rows[column], marker, color=color, ms=size, label=label)
    axes.set(title="ridge regression", xlabel=r"$p_\mathrm{eff}$")
    axes.set_ylabel(r"$E_\mathrm{test} - E_\mathrm{train}$")
    style.log_axis(axes)


def _evidence(axes: Axes, rows: pd.DataFrame) -> None:
    degrees = sorted(rows["degree"].unique())
    colors = (style.FIRST, style.INK, style.SECOND)
    best = rows.groupby(["seed", "truth"])["log_evidence"].transform("max")
    below = rows.assign(below=rows["log_evidence"] - best)
    for degree, color, word in zip(degrees, colors, WORDS, strict=True):
        medians = below[below["degree"] == degree].groupby("truth")["below"].median()
        label = f"{word} model, degree {degree:g}"
        axes.plot(range(len(medians)), medians, "o-", color=color, lw=1.0, ms=4, label=label)
    axes.set_xticks(range(len(degrees)), [f"degree {degree:g}" for degree in degrees])
    axes.set(title="three polynomial models", xlabel="data drawn from")
    axes.set_ylabel("log evidence − largest")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(top=0.5)


def _noise(axes: Axes, rows: pd.DataFrame) -> None:
    kinds = rows.groupby("noise", sort=False)
    for (kind, group), color in zip(kinds, (style.FIRST, style.SECOND), strict=True):
        medians = group.groupby("scale")[["added", "predicted"]].median()
        axes.plot(medians.index, medians["predicted"], color=color, lw=1.0)
        axes.plot(medians.index, medians["added"], "o", color=color, ms=3.5, label=str(kind))
    axes.set(title="cheb-4; lines: second order", ylabel="added loss")
    axes.set(xlabel="deviation s of the noise", xscale="log", yscale="log")


PARTS = {"ridge": _ridge, "evidence": _evidence, "noise": _noise}
