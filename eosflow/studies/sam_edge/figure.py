"""The drawing of the study of SAM's own edge, from its table."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import style

COLORS = ("#222222", "#0072b2", "#009e73", "#d55e00")


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) with the edge dashed (first seed); λ₁ over the edge and the loss, medians over
    seeds."""
    frame["share"] = frame["sharpness"] / frame["edge"]
    figure, panels, _ = style.panels(3, 3, title, share_x=False)
    sharpness, share, loss = panels
    looks: dict[str, dict[str, Any]] = {}
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
        looks[name] = {"color": color, "lw": 1.2}
    looks["its edge"] = {"color": style.MUTED, "lw": 0.9, "ls": "--"}
    share.axhline(1, color=style.MUTED, lw=0.8, ls="--")
    share.set_ylim(0, 1.5)
    style.log_axis(loss)
    first = r"$\lambda_1(\mathcal{H})$"
    labels = (f"sharpness {first}", f"{first} over the edge", "loss")
    for axes, label in zip(panels, labels, strict=True):
        axes.set(xlabel="iteration", ylabel=label)
    style.legend(figure, looks, len(looks))
    return figure
