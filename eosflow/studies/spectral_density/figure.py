"""The drawing of the study of spectra around an instability, from its table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eosflow.analysis import style

MATRICES = {"hessian": r"$\mathcal{H}$", "gauss_newton": r"$G$"}
PHASES = ("before", "in", "after")
FLOOR = 1e-4  # densities below this are not drawn


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """The density of the eigenvalues of 𝓗 and G before, in and after an instability.

    frame: with rows of kind `density` (value, density, density_error, law) and `numbers`
    (edge, largest).
    """
    count = len(MATRICES) * len(PHASES)
    figure, panels, _ = style.panels(count, 3, title, share_x=False)
    drawn = frame[frame["seed"] == frame["seed"].min()]
    places = [(matrix, phase) for matrix in MATRICES for phase in PHASES]
    for axes, (matrix, phase) in zip(panels, places, strict=True):
        chosen = drawn[(drawn["matrix"] == matrix) & (drawn["phase"] == phase)]
        axes.set_title(f"{phase} the instability: {MATRICES[matrix]}")
        axes.set_xlabel("eigenvalue")
        if len(chosen):
            _draw(axes, chosen)
    handles = [
        Line2D([], [], color=style.FIRST, lw=1.2, label="Lanczos quadrature"),
        Patch(color=style.FIRST, alpha=0.25, label="± 2 standard errors"),
        Line2D([], [], color=style.SECOND, lw=1.2, label="Marchenko–Pastur, same mean"),
        Line2D([], [], color=style.SECOND, lw=0.8, ls="--", label="its upper edge"),
        Line2D([], [], color=style.INK, marker="v", ls="none", ms=4, label="λ₁"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    curve = rows[rows["kind"] == "density"]
    (numbers,) = rows[rows["kind"] == "numbers"].to_dict("records")
    value, density = curve["value"].to_numpy(), curve["density"].to_numpy()
    error = 2 * curve["density_error"].to_numpy()
    low, high = np.clip(density - error, FLOOR, None), np.clip(density + error, FLOOR, None)
    axes.fill_between(value, low, high, color=style.FIRST, alpha=0.25, lw=0)
    axes.plot(value, np.where(density > FLOOR, density, np.nan), color=style.FIRST, lw=1.2)
    law = curve["law"].to_numpy()
    axes.plot(value, np.where(law > 0, law, np.nan), color=style.SECOND, lw=1.2)
    axes.axvline(numbers["edge"], color=style.SECOND, lw=0.8, ls="--")
    axes.plot([numbers["largest"]], [2 * FLOOR], "v", color=style.INK, ms=4)
    axes.set_ylim(bottom=FLOOR)
    style.log_axis(axes)
