"""Curves over several seeds: each seed thin, the median thick, a band between the quartiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from eosflow.analysis import style

THIN, THICK = 0.5, 1.8


def lines(
    axes: Axes, frame: pd.DataFrame, x: str, y: str, color: str, label: str = "", **look: Any
) -> None:
    """Draw a column of one method over another, from rows with a `seed`.

    For the median, seeds known at different x are joined by straight lines, as far as all go.
    look: further properties of the thick line. The labels of the axes stay as they are.
    """
    known = frame.dropna(subset=[x, y])
    if known.empty:
        return
    labels = axes.get_xlabel(), axes.get_ylabel()
    shared: dict[str, Any] = {"data": known, "x": x, "y": y, "color": color, "ax": axes}
    if known["seed"].nunique() > 1:
        thin = {"lw": THIN, "alpha": 0.5, "legend": False}
        sns.lineplot(units="seed", estimator=None, **thin, **shared)
    # What a band covers is chosen once, so that the same table gives the same picture.
    band = ("pi", 50) if known["seed"].nunique() > 1 else None
    shared["data"] = _at_the_same(known, x, y)
    sns.lineplot(
        estimator="median",
        errorbar=band,
        err_kws={"alpha": 0.15, "lw": 0},
        label=label or None,
        **({"lw": THICK, "legend": False} | look),
        **shared,
    )
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])


def _at_the_same(known: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The rows, or what lies between them at every x within the range of all seeds."""
    by_seed = {seed: run.sort_values(x) for seed, run in known.groupby("seed")}
    places = {tuple(run[x]) for run in by_seed.values()}
    if len(places) == 1:
        return known
    low, high = max(each[0] for each in places), min(each[-1] for each in places)
    every = np.unique([place for each in places for place in each if low <= place <= high])
    runs = [
        pd.DataFrame({"seed": seed, x: every, y: np.interp(every, run[x], run[y])})
        for seed, run in by_seed.items()
    ]
    return pd.concat(runs, ignore_index=True)


def colors(values: Iterable[float]) -> dict[float, str]:
    """One colour for each value, such as a learning rate; darker for larger ones."""
    return style.shades(values, lightest=0.75)
