"""What is said of SAM's sharpness, measured on each seed."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import table
from eosflow.studies.sam_edge import STUDY


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and ρ.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last = frame["iteration"].max()
    end = frame[frame["iteration"] == last].set_index(["rho", "seed"])["sharpness"]
    rows = []
    for radius, runs in frame.groupby("rho"):
        settings = f"cheb-4, η = 0.3, ρ = {radius:g}, {last:,} steps"
        late = runs[runs["iteration"] > last / 2]
        shares = (late["sharpness"] / late["edge"]).groupby(late["seed"]).median()
        rows.append(STUDY.statements["at-its-own-edge"].judged(shares, settings))
        if radius:
            ratio = end.loc[radius] / end.loc[0.0]
            rows.append(STUDY.statements["less-sharp-than-descent"].judged(ratio, settings))
    return table(rows)
