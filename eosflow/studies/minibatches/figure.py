"""The drawing of the study of minibatches, from its table."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style
from eosflow.studies.minibatches.claims import scan

# The columns of the scans of the loss of all examples, what they are called, and how drawn.
WAYS = {
    "top_whole_": ("along v₁", style.SECOND, "-"),
    "random_whole_": ("along a random direction", style.MUTED, "--"),
    "step_whole_": ("the whole step", style.FIRST, "-"),
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Cosines by direction, the loss against the length of the step, sharpness of batches."""
    groups = list(frame.groupby(["network", "n"], sort=False))
    figure, panels, _ = style.panels(3 * len(groups), 3, title, share_x=False)
    for row, ((network, n), runs) in enumerate(groups):
        cosines, changes, sharpness = panels[3 * row : 3 * row + 3]
        _cosines(cosines, runs)
        cosines.set_title(f"{network}, N = {n}")
        _changes(changes, runs)
        _sharpness(sharpness, runs)
    return figure


def _cosines(axes: Axes, runs: pd.DataFrame) -> None:
    """The cosine with each top direction, a line per evaluation, and that of a random direction."""
    names = [name for name in runs if str(name).startswith("cosine_") and name != "cosine_random"]
    steps = sorted(runs["iteration"].unique())
    colors = mpl.colormaps["viridis"].resampled(len(steps) + 1)
    for number, step in enumerate(steps):
        median = runs.loc[runs["iteration"] == step, names].median()
        ranks = range(1, len(names) + 1)
        axes.plot(ranks, median, "o-", ms=3, lw=1.2, color=colors(number), label=f"step {step}")
    random = runs["cosine_random"].median()
    axes.axhline(random, color=style.MUTED, lw=0.8, ls="--", label="random direction")
    axes.set_xlabel("direction, the sharpest first")
    axes.set_ylabel("mean |cosine|")
    style.log_axis(axes)
    axes.legend(loc="best", fontsize=6)


def _changes(axes: Axes, runs: pd.DataFrame) -> None:
    """The mean change of the loss by α at the last evaluation: seeds thin, the median thick."""
    last = runs[runs["iteration"] == runs["iteration"].max()]
    for prefix, (label, color, line) in WAYS.items():
        seeds = pd.DataFrame([scan(row, prefix) for _, row in last.iterrows()])
        axes.plot(seeds.columns, seeds.T, color=color, lw=0.4)
        axes.plot(seeds.columns, seeds.median(), ls=line, color=color, lw=1.6, label=label)
    axes.axvline(1, color=style.MUTED, lw=0.6, ls=":")
    axes.axhline(0, color=style.MUTED, lw=0.6)
    axes.set_title(f"step {last['iteration'].iloc[0]}")
    axes.set_ylabel("mean change of the loss")
    axes.set_xlabel("α, length of the step")
    # Linear near 0, where the changes are of either sign.
    axes.set_yscale("symlog", linthresh=0.1)
    axes.legend(loc="best", fontsize=6)


def _sharpness(axes: Axes, runs: pd.DataFrame) -> None:
    """Of each run and evaluation the mean λ₁ of batches against that of all examples."""
    axes.plot(
        runs["sharpness"], runs["minibatch_sharpness"], "o", ms=3, mfc="none", color=style.FIRST
    )
    ends = [runs["sharpness"].min(), runs["sharpness"].max()]
    axes.plot(ends, ends, color=style.MUTED, lw=0.8, ls="--", label="equal")
    axes.set_ylabel(r"mean $\lambda_1(\mathcal{H}_B)$ of batches")
    axes.set_xlabel(r"$\lambda_1(\mathcal{H})$ of all examples")
    axes.legend(loc="best", fontsize=6)
