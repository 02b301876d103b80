"""The drawing of the study of one instability of gradient descent, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eosflow.analysis import style

SCANS = {"stable": "before", "unstable": "in", "after": "after"}
SHADE = "#f3e3c3"


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Above, the first seed's course: λ₁η and λ₂η, the oscillation along q₁, the change of 𝓗;
    below the loss along one step before, in and after the instability."""
    runs = frame[frame["seed"] == frame["seed"].min()]
    course, scans = (runs[runs["part"] == part] for part in ("course", "scan"))
    figure, panels, _ = style.panels(6, 3, title, share_x=False)
    unstable = course.loc[course["place"] == "unstable", "iteration"]
    for axes in panels[:3]:
        axes.axvspan(unstable.min(), unstable.max(), color=SHADE, linewidth=0, zorder=0)
        axes.set_xlabel("step since it begins")
    _sharpness(panels[0], course)
    steps = course["iteration"]
    panels[1].plot(steps, course["swing"].abs(), color=style.FIRST, lw=1.0)
    panels[1].set_title(r"$|\langle q_1, \theta_t - \theta_{ref}\rangle|$")
    seen = course.dropna(subset="change")
    panels[2].plot(seen["iteration"], seen["change"], color=style.FIRST, marker="o", ms=2.5, lw=1.0)
    panels[2].set_title(r"$\Vert\Delta\mathcal{H}\Vert / \Vert\mathcal{H}\Vert$ over 10 steps")
    for axes in panels[1:3]:
        style.log_axis(axes)
    for axes, (place, word) in zip(panels[3:], SCANS.items(), strict=True):
        _scan(axes, scans[scans["place"] == place], word)
    handles = [
        Patch(color=SHADE, label=r"unstable: $\lambda_1\eta \geq 2$"),
        Line2D([], [], color=style.INK, lw=0.8, ls="--", label=r"the edge, $\lambda\eta = 2$"),
        Line2D([], [], color=style.SECOND, lw=1.0, ls=":", label="quadratic in α"),
        Line2D([], [], color=style.INK, marker="o", mfc="white", ms=4, ls="", label="start"),
        Line2D([], [], color=style.INK, marker="o", ms=4, ls="", label="end of the step"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _sharpness(axes: Axes, course: pd.DataFrame) -> None:
    pairs = course.dropna(subset="sharpness")
    for column, color, label in (
        ("sharpness", style.FIRST, r"$\lambda_1\eta$"),
        ("second", style.MUTED, r"$\lambda_2\eta$"),
    ):
        product = pairs[column] * pairs["learning_rate"]
        axes.plot(pairs["iteration"], product, color=color, lw=1.0, label=label)
    axes.axhline(2, color=style.INK, lw=0.8, ls="--")
    axes.legend(loc="upper left")
    axes.set_title(r"$\lambda_1(\mathcal{H})\,\eta$ and $\lambda_2(\mathcal{H})\,\eta$")


def _scan(axes: Axes, scan: pd.DataFrame, word: str) -> None:
    first = scan.loc[scan["alpha"] == 0].iloc[0]
    axes.plot(scan["alpha"], scan["loss"], color=style.FIRST, lw=1.2)
    axes.plot(scan["alpha"], scan["quadratic_loss"], color=style.SECOND, lw=1.0, ls=":", zorder=3)
    for alpha, face in ((0.0, "white"), (1.0, style.INK)):
        loss = scan.loc[scan["alpha"] == alpha, "loss"]
        axes.plot([alpha], loss, color=style.INK, marker="o", ms=4, mfc=face, ls="", zorder=4)
    product = first["sharpness"] * first["learning_rate"]
    axes.set_title(rf"one step {word}: $\lambda_1\eta$ = {product:.3f}")
    axes.set_xlabel("α")
    axes.set_ylabel("loss")
    axes.ticklabel_format(axis="y", useOffset=False)
