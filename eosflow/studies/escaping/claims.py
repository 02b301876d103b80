"""What the source's code asks of SGD without its sharpest direction, measured on each seed."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eosflow.studies.base import Sampled
from eosflow.studies.escaping import ONLY, REMOVED, WHOLE

COMPARED = {"removed-is-sharper": REMOVED, "only-is-flatter": ONLY}  # with all of each step


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim and start: paired ratios of λ₁(𝓗) at the end."""
    last, rate = frame["iteration"].max(), frame["learning_rate"].iloc[0]
    for start, runs in frame[frame["iteration"] == last].groupby("start", sort=False):
        ends = runs.pivot(index="seed", columns="method", values="sharpness")
        settings = f"cheb-4, η = {rate:g}, {last} steps from the {start}"
        for name, method in COMPARED.items():
            yield name, ends[method] / ends[WHOLE], settings
