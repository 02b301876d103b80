"""What is said of SAM's sharpness, measured on each seed."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eosflow.studies.base import Sampled


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim and ρ."""
    last = frame["iteration"].max()
    end = frame[frame["iteration"] == last].set_index(["rho", "seed"])["sharpness"]
    for radius, runs in frame.groupby("rho"):
        settings = f"cheb-4, η = 0.3, ρ = {radius:g}, {last:,} steps"
        late = runs[runs["iteration"] > last / 2]
        shares = (late["sharpness"] / late["edge"]).groupby(late["seed"]).median()
        yield "at-its-own-edge", shares, settings
        if radius:
            yield "less-sharp-than-descent", end.loc[radius] / end.loc[0.0], settings
