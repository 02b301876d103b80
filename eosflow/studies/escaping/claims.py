"""What the source's code asks of SGD without its sharpest direction, measured on each seed."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import table
from eosflow.studies.escaping import ONLY, REMOVED, STUDY, WHOLE

COMPARED = {"removed-is-sharper": REMOVED, "only-is-flatter": ONLY}  # with all of each step


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and start: paired ratios of λ₁(𝓗) at the end.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last, rate = frame["iteration"].max(), frame["learning_rate"].iloc[0]
    rows = []
    for start, runs in frame[frame["iteration"] == last].groupby("start", sort=False):
        ends = runs.pivot(index="seed", columns="method", values="sharpness")
        settings = f"cheb-4, η = {rate:g}, {last} steps from the {start}"
        for name, method in COMPARED.items():
            rows.append(STUDY.statements[name].judged(ends[method] / ends[WHOLE], settings))
    return table(rows)
