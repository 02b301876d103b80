"""What is said of Nudged-SGD, measured on each seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.studies.base import Sampled

SGD, NUDGED, PUSHED = 1.0, 0.1, 5.0  # γ


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim and setting, from pairs of a γ and γ = 1, which is SGD.

    A run that diverged has an infinite loss, and no number for the other claims.
    """
    for settings, runs in frame.groupby(["network", "n", "learning_rate", "batch"], sort=False):
        network, n, rate, batch = settings
        words = f"{network}, N = {n}: η = {rate:g}, batch {batch}, {runs['steps'].max()} steps"
        by_gamma = {
            gamma: part.set_index(["seed", "subset_seed"]) for gamma, part in runs.groupby("gamma")
        }
        for name, (gamma, measure) in MEASURES.items():
            if {gamma, SGD} <= by_gamma.keys():
                yield name, measure(by_gamma[gamma], by_gamma[SGD]), words


Measure = Callable[[pd.DataFrame, pd.DataFrame], pd.Series]


def _losses(runs: pd.DataFrame, sgd: pd.DataFrame) -> pd.Series:
    loss = runs["loss"].mask(runs["stopped"] == "diverged", math.inf)
    return loss / sgd["loss"].where(sgd["stopped"] != "diverged")


def _sharpness(runs: pd.DataFrame, sgd: pd.DataFrame) -> pd.Series:
    ends = [each["sharpness_end"].where(each["stopped"] != "diverged") for each in (runs, sgd)]
    return ends[0] / ends[1]


def _accuracies(column: str) -> Measure:
    return lambda runs, sgd: 100 * (runs[column] - sgd[column])


MEASURES: dict[str, tuple[float, Measure]] = {
    "nudged-lower-loss": (NUDGED, _losses),
    "nudged-sharper": (NUDGED, _sharpness),
    "nudged-faster": (NUDGED, _accuracies("early_held_out_accuracy")),
    "nudged-generalizes": (NUDGED, _accuracies("held_out_accuracy")),
    "pushed-flatter": (PUSHED, _sharpness),
    "pushed-higher-loss": (PUSHED, _losses),
}
