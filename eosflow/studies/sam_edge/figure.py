"""The drawing of the study of SAM's own edge, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eosflow.analysis import style

COLORS = ("#222222", "#0072b2", "#009e73", "#d55e00")


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) with the edge dashed (first seed); λ₁ over the edge and the loss, medians over seeds.

    frame: with seed, rho, iteration, sharpness, edge and loss.
    """
    frame["share"] = frame["sharpness"] / frame["edge"]
    figure, panels, _ = style.panels(3, 3, title, share_x=False)
    sharpness, share, loss = panels
    handles = []
    for radius, color in zip(sorted(frame["rho"].unique()), COLORS, strict=False):
        runs = frame[frame["rho"] == radius]
        first = runs[runs["seed"] == runs["seed"].min()]
        # The start, where ‖∇𝓛‖ is that of the initialisation, says nothing of the edge.
        later = first[first["iteration"] > 0]
        sharpness.plot(first["iteration"], first["sharpness"], color=color, lw=1.2)
        sharpness.plot(later["iteration"], later["edge"], color=color, lw=0.9, ls="--")
        medians = runs.groupby("iteration")[["share", "loss"]].median()
        share.plot(medians.index, medians["share"], color=color, lw=1.2)
        loss.plot(medians.index, medians["loss"], color=color, lw=1.2)
        name = f"SAM, ρ = {radius:g}" if radius else "gradient descent"
        handles.append(Line2D([], [], color=color, lw=1.2, label=name))
    handles.append(Line2D([], [], color=style.MUTED, lw=0.9, ls="--", label="its edge"))
    share.axhline(1, color=style.MUTED, lw=0.8, ls="--")
    share.set_ylim(0, 1.5)
    style.log_axis(loss)
    titles = (
        r"sharpness $\lambda_1(\mathcal{H})$",
        r"$\lambda_1(\mathcal{H})$ over the edge",
        "loss",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_ylabel(title)
        axes.set_xlabel("iteration")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
