"""The drawing of the largest eigenvalues over training, from its study's table."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eosflow.analysis import style


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Above the eigenvalues and 2/η, below the accuracies; a column per experiment, its first
    seed."""
    experiments = list(frame["experiment"].unique())
    count = len(experiments)
    figure, panels, _ = style.panels(2 * count, count, title, share_x=False)
    for column, experiment in enumerate(experiments):
        runs = frame[frame["experiment"] == experiment]
        (_, run), *_ = runs.groupby(["seed", "subset_seed"])
        above, below = panels[column], panels[count + column]
        _eigenvalues(above, run)
        edge = 2 / run["learning_rate"].iloc[0]
        above.axhline(edge, color=style.INK, lw=0.8, ls="--", label="2/η")
        above.set_title(_settings(run.iloc[0]))
        above.set_ylabel("eigenvalues of the Hessian")
        above.set_ylim(top=1.8 * run["eigenvalue_1"].max())  # room for the legend
        above.legend(fontsize=6, loc="upper right", ncols=3)
        below.plot(run["iteration"], run["accuracy"], color=style.FIRST, label="trained on")
        below.plot(run["iteration"], run["held_out_accuracy"], color=style.SECOND, label="held out")
        below.set_ylabel("accuracy")
        below.set_xlabel("iteration")
        below.legend(loc="best")
    return figure


def _settings(row: pd.Series) -> str:
    steps = f"batches of {row['batch']}" if row["batch"] < row["n"] else "all in each step"
    return f"{row['network']}, N = {row['n']}, {steps}, η = {row['learning_rate']:g}"


def _eigenvalues(axes: Axes, run: pd.DataFrame) -> None:
    names = [name for name in run if str(name).startswith("eigenvalue_")]
    colors = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(names)))
    for name, color in zip(names, colors, strict=True):
        number = str(name).removeprefix("eigenvalue_")
        label = f"$\\lambda_{{{number}}}$" if name in (names[0], names[-1]) else None
        axes.plot(run["iteration"], run[name], color=color, lw=1.0, label=label)
        loose = run[run["converged"].astype(str) == "False"]
        axes.plot(loose["iteration"], loose[name], "o", ms=3, mfc="none", mec=color)
    style.log_axis(axes)
