"""The drawing of the spectra around an instability."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eosflow.analysis import style

MATRICES = {"hessian": r"$\mathcal{H}$", "gauss_newton": r"$G$"}
PHASES = ("before", "in", "after")
LINEAR = 1e-2  # the horizontal axis is linear up to here


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """How many eigenvalues of 𝓗 and G lie above x before, in and after an instability.

    frame: with rows of kind `counts` (value, count, count_error, count_exact, law) and `numbers`.
    """
    count = len(MATRICES) * len(PHASES)
    figure, panels, _ = style.panels(count, 3, title, share_x=False)
    counts = frame[frame["kind"] == "counts"]
    places = [(matrix, phase) for matrix in MATRICES for phase in PHASES]
    for axes, (matrix, phase) in zip(panels, places, strict=True):
        chosen = counts[(counts["matrix"] == matrix) & (counts["phase"] == phase)]
        axes.set_title(f"{MATRICES[matrix]}, {phase} the instability")
        axes.set_xlabel("x")
        axes.set_ylabel("eigenvalues above x")
        if len(chosen):
            _draw(axes, chosen)
    handles = [
        Line2D([], [], color=style.INK, lw=1.0, label="counted"),
        Line2D([], [], color=style.FIRST, marker="o", ms=2.5, lw=0.8, label="Lanczos quadrature"),
        Line2D(
            [], [], color=style.SECOND, lw=1.2, ls="--", label="Marchenko–Pastur, σ² of the bulk"
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    axes.step(rows["value"], rows["count_exact"], where="post", color=style.INK, lw=1.0)
    axes.errorbar(
        *(rows["value"], rows["count"], 2 * rows["count_error"]),
        fmt="o",
        ms=2,
        elinewidth=0.7,
        color=style.FIRST,
        errorevery=2,
        markevery=2,
    )
    if rows["law"].notna().any():
        axes.plot(rows["value"], rows["law"], color=style.SECOND, lw=1.2, ls="--")
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_xticks([-1, -LINEAR, 0, LINEAR, 1], ["−1", "", "0", "0.01", "1"])
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, 450)
    axes.set_yticks([0, 1, 10, 100, 300], ["0", "1", "10", "100", "300"])
