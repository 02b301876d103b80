"""Curves over several seeds: each seed thin, the median thick, a band between the quartiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

THIN, THICK = 0.5, 1.8


def lines(
    axes: Axes, frame: pd.DataFrame, x: str, y: str, color: str, label: str = "", **look: Any
) -> None:
    """Draw a column of one method over another, from rows with a `seed`.

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


def colors(values: Iterable[float]) -> dict[float, str]:
    """One colour for each value, such as a learning rate; darker for larger ones."""
    ordered = sorted(set(values))
    places = np.linspace(0.75, 0.0, len(ordered)) if len(ordered) > 1 else np.array([0.3])
    shades = mpl.colormaps["viridis"](places)
    return {value: to_hex(shade) for value, shade in zip(ordered, shades, strict=True)}
