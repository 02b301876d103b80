"""What is said of SGD's edge, measured on each seed."""

from __future__ import annotations

import itertools

import pandas as pd

from eosflow.analysis.claims import table
from eosflow.studies.stochastic_edge import STUDY


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and batch size.

    Full batches are not SGD's: the last claim alone names them.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    said = STUDY.statements
    last = frame["iteration"].max()
    late = frame[frame["iteration"] > last / 2]
    rate = frame["learning_rate"].iloc[0]
    means = late.groupby(["batch", "seed"])[["batch_sharpness", "sharpness"]].mean() * rate / 2
    sizes = sorted(frame["batch"].unique())
    rows = []
    for size, next_size in itertools.pairwise(sizes):
        here = means.loc[size]
        settings = f"batches of {size}, η = {rate:g}, steps {last // 2} to {last}"
        rows.append(said["batch-sharpness-is-held"].judged(here["batch_sharpness"], settings))
        rows.append(said["sharpness-stays-below"].judged(here["sharpness"], settings))
        ratio = (here["sharpness"] / means.loc[next_size]["sharpness"]).dropna()
        rows.append(
            said["smaller-batches-are-flatter"].judged(ratio, f"{settings}, against {next_size}")
        )
    return table(rows)
