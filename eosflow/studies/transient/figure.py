"""The drawing of the study of the start of training, from its table."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eosflow.analysis import TRANSIENT, style

QUANTITIES = {
    "loss": "loss",
    "sharpness_hessian": r"$\lambda_1(\mathcal{H})$",
    "alignment_product": r"alignment $A_1$",
    "m_norm2": r"$\mathrm{E}\,\Vert M\Vert^2$",
}
PAPER = "exponential Euler"
SHADE = 0.5
# The reference lies below the others, broad enough to be seen under the one that follows it.
LOOKS: dict[str, dict[str, Any]] = {
    "adaptive, tolerance 0.0001": {"color": "#e3b7cf", "linewidth": 3.5},
    "adaptive, tolerance 0.01": {"color": "#a0437a", "marker": "D", "linewidth": 1.0},
    "gradient descent": {"color": style.INK, "linewidth": 1.0, "linestyle": (0, (4, 2))},
    PAPER: {"color": style.FIRST, "marker": "o", "linewidth": 1.2},
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Loss, λ₁(𝓗), A_1 and E‖M‖² against the flow time, one curve per scheme.

    The left edge is the start, t = 0; the first iterations of the paper's scheme, which it
    leaves out, are shaded.
    """
    left = frame.loc[frame["flow_time"] > 0, "flow_time"].min() / 2
    figure, panels, _ = style.panels(len(QUANTITIES), 2, title)
    for axes, (name, label) in zip(panels, QUANTITIES.items(), strict=True):
        _shade(axes, frame, left)
        for scheme, look in LOOKS.items():
            rows = frame[frame["scheme"] == scheme]
            times = rows["flow_time"].clip(lower=left)
            axes.plot(times, rows[name], ms=2.5, label=scheme, **look)
        axes.set_xscale("log")
        axes.set_xlim(left, frame["flow_time"].max())
        axes.set_ylabel(label)
        style.log_axis(axes)
    for axes in panels[-2:]:
        axes.set_xlabel("gradient-flow time t (left edge: the start)")
    handles, _ = panels[0].get_legend_handles_labels()
    shade = f"the first {TRANSIENT} iterations of {PAPER}"
    handles.append(Patch(color=style.TRANSIENT_GREY, alpha=SHADE, label=shade))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _shade(axes: Axes, frame: pd.DataFrame, left: float) -> None:
    paper = frame[frame["scheme"] == PAPER]
    within = paper.loc[paper["iteration"] <= TRANSIENT, "flow_time"].max()
    axes.axvspan(left, within, color=style.TRANSIENT_GREY, alpha=SHADE, linewidth=0, zorder=0)
