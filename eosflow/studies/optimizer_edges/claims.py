"""What is said of momentum, RMSprop and Adam at their own edges, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.analysis.claims import first_true
from eosflow.studies.base import Sampled, each


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim and optimizer; numbers are shares of the optimizer's edge."""
    return each(MEASURES, _groups(frame))


def _groups(frame: pd.DataFrame) -> Iterator[tuple[str, list[pd.Series]]]:
    """λ₁(P⁻¹𝓗)η over the edge of each seed, by optimizer."""
    for name, runs in frame.groupby("optimizer", sort=False):
        edge, rate = runs["edge"].iloc[0], runs["learning_rate"].iloc[0]
        steps = runs["iteration"].max()
        share = runs["sharpness"] * rate / edge
        settings = f"cheb-4, {name}, η = {rate:g}, edge {edge:.4g}/η, {steps:,} steps"
        yield settings, [run for _, run in share.groupby(runs["seed"])]


MEASURES: dict[str, Callable[[pd.Series], float]] = {
    "held-at-its-edge": lambda share: float(share.iloc[len(share) // 2 :].median()),
    "below-before": lambda share: float(share.iloc[: first_true(share >= 1)].median()),
}
