"""What is said of gradient descent where the flow sharpens, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import nan
from typing import NamedTuple

import numpy as np
import pandas as pd

from eosflow.analysis.claims import first_true
from eosflow.studies.base import FLOW, Sampled, each


class Seed(NamedTuple):
    """From one start: the flow, and gradient descent before it is at the edge and from there on.

    Descent is at the edge from the first evaluation on at which λ₁(𝓗) ≥ 2/η; if that never comes,
    both parts of it are empty.
    """

    flow: pd.DataFrame
    before: pd.DataFrame
    after: pd.DataFrame
    rate: float


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim, problem and learning rate.

    Claims on the time before or after the edge leave out the seeds in which it never comes. Without
    a distance from the flow in the table there is no verdict on it.
    """
    known = {n: m for n, m in MEASURES.items() if m is not _leaves or "distance" in frame}
    return each(known, _groups(frame))


def _groups(frame: pd.DataFrame) -> Iterator[tuple[str, list[Seed]]]:
    flows = dict(list(frame[frame["method"] == FLOW].groupby(["problem", "seed"])))
    for (problem, _), descent in frame.groupby(["problem", "learning_rate"], sort=False):
        rate, steps = descent["learning_rate"].iloc[0], descent["iteration"].max()
        seeds = []
        for seed, run in descent.groupby("seed"):
            start = first_true(run["sharpness"] * rate >= 2)
            before = run[:start] if start < len(run) else run[:0]
            seeds.append(Seed(flows[problem, seed], before, run[start:], rate))
        yield f"{problem}, η = {rate:g}, {steps:,} steps, flow time {steps * rate:g}", seeds


def _since(seed: Seed, column: str) -> tuple[float, float]:
    """A column at the first evaluation at the edge and at the end, if these are two."""
    values = seed.after[column]
    return (values.iloc[0], values.iloc[-1]) if len(values) > 1 else (nan, nan)


def _leaves(seed: Seed) -> float:
    largest = seed.before["distance"].replace(0, np.nan).max()
    return float(seed.after["distance"].tail(1).mean() / largest)


def _rises(seed: Seed) -> float:
    rises, steps = _since(seed, "rises"), _since(seed, "iteration")
    return 100 * (rises[1] - rises[0]) / (steps[1] - steps[0])


def _falls(seed: Seed) -> float:
    first, last = _since(seed, "loss")
    return last / first


MEASURES: dict[str, Callable[[Seed], float]] = {
    "flow-passes": lambda seed: float(seed.flow["sharpness"].max() * seed.rate / 2),
    "descent-is-held": lambda seed: float(seed.after["sharpness"].mean() * seed.rate),
    "leaves-after": _leaves,
    "loss-falls-before": lambda seed: float(seed.before["rises"].tail(1).mean()),
    "loss-not-monotone": _rises,
    "loss-falls-over-time": _falls,
}
