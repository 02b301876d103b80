"""What is said of steps inside and outside of the top subspace, measured on each seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.studies.base import Sampled, each
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, PUSHED, STALE

WINDOW = 200  # steps that a loss at the end is the mean over: at the edge it oscillates


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim."""
    seeds = [dict(list(runs.groupby("method"))) for _, runs in frame.groupby("seed")]
    first = frame.loc[frame["method"] == BEFORE, "iteration"].max()
    rate, steps = frame["learning_rate"].iloc[0], frame["iteration"].max() - first
    settings = f"cheb-4, η = {rate:g}, {steps} steps from step {first} on"
    return each(MEASURES, [(settings, seeds)])


Runs = dict[str, pd.DataFrame]
Measure = Callable[[Runs], float]


def _loss(run: pd.DataFrame) -> float:
    """The mean loss of the last `WINDOW` steps; infinite if the run diverged."""
    if run["diverged"].iloc[-1]:
        return math.inf
    last = run[run["iteration"] > run["iteration"].max() - WINDOW]
    return float(last["mean_loss"].mean())


def _losses(above: str, below: str) -> Measure:
    return lambda runs: _loss(runs[above]) / _loss(runs[below])


def _edge(run: pd.DataFrame) -> float:
    """The mean of λ₁(𝓗)η over the later half of the evaluations."""
    late = run.iloc[len(run) // 2 :]
    return float((late["sharpness"] * late["learning_rate"]).mean())


MEASURES: dict[str, Measure] = {
    "gradient-is-dominant": lambda runs: float(runs[DESCENT]["gradient_share"].mean()),
    "dominant-is-flat": _losses(DOMINANT, BEFORE),
    "stale-subspace-raises": _losses(STALE, DOMINANT),
    "descent-beats-dominant": _losses(DOMINANT, DESCENT),
    "bulk-learns": _losses(BULK, DESCENT),
    "bulk-sharpens": lambda runs: _edge(runs[BULK]),
    "nudged-is-lower": _losses(NUDGED, DESCENT),
    "nudged-is-sharper": lambda runs: _edge(runs[NUDGED]) / _edge(runs[DESCENT]),
    "pushed-diverges": lambda runs: float(runs[PUSHED]["diverged"].iloc[-1]),
}
