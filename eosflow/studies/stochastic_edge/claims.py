"""What is said of SGD's edge, measured on each seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from eosflow.studies.base import Sampled


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim and batch size.

    Full batches are not SGD's: the last claim alone names them.
    """
    last = frame["iteration"].max()
    late = frame[frame["iteration"] > last / 2]
    rate = frame["learning_rate"].iloc[0]
    means = late.groupby(["batch", "seed"])[["batch_sharpness", "sharpness"]].mean() * rate / 2
    sizes = sorted(frame["batch"].unique())
    for size, next_size in itertools.pairwise(sizes):
        here = means.loc[size]
        settings = f"batches of {size}, η = {rate:g}, steps {last // 2} to {last}"
        yield "batch-sharpness-is-held", here["batch_sharpness"], settings
        yield "sharpness-stays-below", here["sharpness"], settings
        ratio = (here["sharpness"] / means.loc[next_size]["sharpness"]).dropna()
        yield "smaller-batches-are-flatter", ratio, f"{settings}, against {next_size}"
