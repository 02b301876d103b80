"""The drawing of the study of schedules and weight decay, from its table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import style

HEADROOM = 1.25  # over the largest sharpness: beyond, 2/η_t of a tiny η_t leaves the panel


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) against the steps with 2/η_t dashed, a panel per case, a curve per seed."""
    cases = list(frame["case"].unique())
    figure, panels, cell = style.panels(len(cases), 2, title, share_x=False)
    for axes, case in zip(panels, cases, strict=True):
        runs = frame[frame["case"] == case]
        for _, run in runs.groupby("seed"):
            axes.plot(run["iteration"], run["sharpness"], color=style.FIRST, lw=0.8)
        # In a step whose η_t is 0 there is no edge.
        run = runs[(runs["seed"] == runs["seed"].min()) & (runs["learning_rate"] > 0)]
        edge = 2 / run["learning_rate"]
        axes.step(run["iteration"], edge, "--", where="post", color=style.SECOND, lw=1.2, zorder=3)
        axes.set_ylim(0, HEADROOM * runs["sharpness"].max())
        axes.set_title(case)
    for axes in panels:
        axes.set_xlabel("step")
    for axes in panels[::2]:
        axes.set_ylabel(r"$\lambda_1(\mathcal{H})$")
    edge = {"color": style.SECOND, "lw": 1.2, "ls": "--"}
    seed = {"color": style.FIRST, "lw": 0.8}
    looks = {"gradient descent, one seed each": seed, r"$2/\eta_t$": edge}
    style.legend(figure, looks, 2, cell)
    return figure
