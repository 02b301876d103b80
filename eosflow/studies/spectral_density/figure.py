"""The drawing of the spectra around an instability."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style

MATRICES = {"hessian": r"$\mathcal{H}$", "gauss_newton": r"$G$"}
PHASES = ("before", "in", "after")
LINEAR = 1e-2  # the horizontal axis is linear up to here


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """How many eigenvalues of 𝓗 and G lie above x before, in and after an instability."""
    count = len(MATRICES) * len(PHASES)
    figure, panels, _ = style.panels(count, 3, title, share_x=False)
    counts = frame[frame["kind"] == "counts"]
    shown = [(matrix, phase) for matrix in MATRICES for phase in PHASES]
    for axes, (matrix, phase) in zip(panels, shown, strict=True):
        chosen = counts[(counts["matrix"] == matrix) & (counts["phase"] == phase)]
        title = f"{MATRICES[matrix]}, {phase} the instability"
        axes.set(title=title, xlabel="x", ylabel="eigenvalues above x")
        if len(chosen):
            _draw(axes, chosen)
    looks: dict[str, dict[str, Any]] = {
        "counted": {"color": style.INK, "lw": 1.0},
        "Lanczos quadrature": {"color": style.FIRST, "marker": "o", "ms": 2.5, "lw": 0.8},
        "Marchenko–Pastur, σ² of the bulk": {"color": style.SECOND, "lw": 1.2, "ls": "--"},
    }
    style.legend(figure, looks, 3)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    axes.step(rows["value"], rows["count_exact"], where="post", color=style.INK, lw=1.0)
    half: dict[str, Any] = {"errorevery": 2, "markevery": 2, "elinewidth": 0.7}
    points = rows["value"], rows["count"], 2 * rows["count_error"]
    axes.errorbar(*points, fmt="o", ms=2, color=style.FIRST, **half)
    if rows["law"].notna().any():
        axes.plot(rows["value"], rows["law"], color=style.SECOND, lw=1.2, ls="--")
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_xticks([-1, -LINEAR, 0, LINEAR, 1], ["−1", "", "0", "0.01", "1"])
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, 450)
    axes.set_yticks([0, 1, 10, 100, 300], ["0", "1", "10", "100", "300"])
