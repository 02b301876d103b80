"""What we expect of schedules and weight decay at the edge, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.analysis.claims import first_true
from eosflow.studies.base import Sampled


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim.

    A run is at the edge from the first evaluation at which λ₁(𝓗)η_t ≥ 2; claims on the time after
    leave out the seeds in which that never comes.
    """
    for name, (case, measure) in MEASURES.items():
        runs = frame[frame["case"] == case]
        if runs.empty:
            continue
        most, steps = runs["learning_rate"].max(), runs["iteration"].max()
        settings = f"cheb-4, {case}, η at most {most:g}, {steps:,} steps"
        yield name, [measure(run) for _, run in runs.groupby("seed")], settings


def _at_edge(run: pd.DataFrame) -> pd.DataFrame:
    """The evaluations from the first at the edge on."""
    return run[first_true(run["sharpness"] * run["learning_rate"] >= 2) :]


def _median(run: pd.DataFrame) -> float:
    """The median of (λ₁ + weight decay)η_t."""
    return float(((run["sharpness"] + run["weight_decay"]) * run["learning_rate"]).median())


def _falls(run: pd.DataFrame) -> float:
    sharpness = _at_edge(run)["sharpness"]
    return float(sharpness.tail(1).mean() / sharpness.head(1).mean())


MEASURES: dict[str, tuple[str, Callable[[pd.DataFrame], float]]] = {
    "below-at-the-drop": (
        "drop",
        lambda run: _median(run[run["learning_rate"] < run["learning_rate"].max()][:1]),
    ),
    "climbs-to-the-new-edge": (
        "drop",
        lambda run: _median(run[run["iteration"] > 0.75 * run["iteration"].max()]),
    ),
    "follows-warm-up": ("warm-up", lambda run: _median(_at_edge(run))),
    "warm-up-flattens": ("warm-up", _falls),
    "cosine-sharpens": ("cosine", _falls),
    "decay-shifts-the-edge": ("weight decay 0.001", lambda run: _median(_at_edge(run))),
    "large-decay-collapses": (
        "weight decay 0.01",
        lambda run: float(run["loss"].iloc[-1] / run["constant_loss"].iloc[-1]),
    ),
}
