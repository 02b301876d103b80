"""What is said of gradient descent where the flow sharpens, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.base import FLOW

FIGURE = "Cohen et al. 2021, arXiv:2103.00065, Figure 4 (c)"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, problem and learning rate.

    A run is at the edge from the first evaluation at which λ₁(𝓗) ≥ 2/η; claims on the time before
    or after leave out the seeds in which that never comes. Without a distance from the flow in the
    table there is no verdict on it.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for (problem, found), descent in frame.groupby(["problem", "learning_rate"], sort=False):
        rate = float(str(found))
        flow = frame[(frame["problem"] == problem) & (frame["method"] == FLOW)]
        steps = descent["iteration"].max()
        settings = f"{problem}, η = {rate:g}, {steps:,} steps, flow time {steps * rate:g}"
        for claim, measure in CLAIMS.items():
            if measure is _leaves and "distance" not in frame:
                continue
            values = [
                measure(run, flow[flow["seed"] == seed], rate)
                for seed, run in descent.groupby("seed")
            ]
            rows.append(claim.judged(values, settings))
    return table(rows)


Measure = Callable[[pd.DataFrame, pd.DataFrame, float], float | None]


def _crossing(run: pd.DataFrame, rate: float) -> int | None:
    """The place of the first evaluation at the edge; None if there is none."""
    at_edge = np.flatnonzero(run["sharpness"].to_numpy() * rate >= 2)
    return int(at_edge[0]) if len(at_edge) else None


def _flow_passes(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    return float(flow["sharpness"].max() * rate / 2)


def _held(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    first = _crossing(run, rate)
    return None if first is None else float(run["sharpness"].iloc[first:].mean() * rate)


def _leaves(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    first = _crossing(run, rate)
    before = run["distance"].iloc[:first].max() if first else 0
    return float(run["distance"].iloc[-1] / before) if before else None


def _rises_before(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    first = _crossing(run, rate)
    return None if not first else float(run["rises"].iloc[first - 1])


def _since(column: str, run: pd.DataFrame, rate: float) -> tuple[float, float] | None:
    """A column at the crossing and at the end; None for a run that is not past it."""
    first = _crossing(run, rate)
    if first is None or first == len(run) - 1:
        return None
    return float(run[column].iloc[first]), float(run[column].iloc[-1])


def _rises(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    rises, steps = _since("rises", run, rate), _since("iteration", run, rate)
    return None if not (rises and steps) else 100 * (rises[1] - rises[0]) / (steps[1] - steps[0])


def _falls(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    losses = _since("loss", run, rate)
    return None if losses is None else losses[1] / losses[0]


CLAIMS: dict[Claim, Measure] = {
    Claim(
        "flow-passes",
        "The flow's sharpness passes 2/η.",
        "its largest λ₁(𝓗) over 2/η",
        above=1,
    ): _flow_passes,
    Claim(
        "descent-is-held",
        "Gradient descent is held there: the sharpness hovers just above 2/η.",
        "mean of λ₁(𝓗)η from the first evaluation at the edge on",
        "Cohen et al. 2021, arXiv:2103.00065, abstract",
        "just above 2",
        within=(1.85, 2.15),
    ): _held,
    Claim(
        "leaves-after",
        "It leaves the flow only after λ₁(𝓗) has crossed 2/η.",
        "relative distance from the flow at the end over the largest before",
        within=(5, np.inf),
    ): _leaves,
    Claim(
        "loss-falls-before",
        "Before that the loss never rises.",
        "steps that raised it",
        within=(0, 0),
    ): _rises_before,
    Claim(
        "loss-not-monotone",
        "From there on the loss rises in some steps.",
        "steps that raised it per hundred steps since the crossing",
        FIGURE,
        "non-monotonically",
        above=0,
    ): _rises,
    Claim(
        "loss-falls-over-time",
        "It falls over longer times.",
        "loss at the end over that at the crossing",
        FIGURE,
        "continues to decrease",
        below=1,
    ): _falls,
}
