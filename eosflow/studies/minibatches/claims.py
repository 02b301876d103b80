"""What is said of minibatch gradients and sharp directions, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.studies.base import Sampled, each

SCAN = "top_whole_"  # the columns of the scan along v₁, of the loss of all examples


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim, network and evaluation after the start."""
    return each(MEASURES, _groups(frame[frame["iteration"] > 0]))


def _groups(later: pd.DataFrame) -> Iterator[tuple[str, list[pd.Series]]]:
    for settings, evaluated in later.groupby(
        ["network", "n", "learning_rate", "batch", "iteration"]
    ):
        network, n, rate, batch, iteration = settings
        words = f"{network}, N = {n}: η = {rate:g}, batch {batch}, step {iteration}"
        yield words, [row for _, row in evaluated.iterrows()]


def scan(row: pd.Series, prefix: str = SCAN) -> pd.Series:
    """The mean change of the loss by α, in the order of α."""
    changes = row[row.index.str.startswith(prefix)].astype(float)
    return changes.set_axis(changes.index.str.removeprefix(prefix).astype(float)).sort_index()


MEASURES: dict[str, Callable[[pd.Series], float]] = {
    "gradients-align": lambda row: row["cosine"] / row["cosine_random"],
    "step-crosses-minimum": lambda row: float(str(scan(row).idxmin())),
    "step-fails-to-minimize": lambda row: row[f"{SCAN}1"] / row["top_scale"],
    "whole-step-lowers": lambda row: row["step_whole_1"],
    "minibatches-sharper": lambda row: row["minibatch_sharpness"] / row["sharpness"],
}
