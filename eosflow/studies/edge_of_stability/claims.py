"""What the source says of gradient descent where the flow sharpens, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Inequality, table
from eosflow.studies.base import FLOW

# λ₁η "hovers at 2 and a little above".
HOVER = (1.85, 2.15)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of gradient descent against the flow, from its table.

    One row per claim, problem and learning rate. `measured` is the median over the seeds. A run is
    at the edge from the first look at which λ₁(𝓗) ≥ 2/η; what is said of the time before or after
    leaves out the seeds in which that never comes. A table without the distance from the flow has
    no verdict on it.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for (problem, found), descent in frame.groupby(["problem", "learning_rate"], sort=False):
        rate = float(str(found))
        flow = frame[(frame["problem"] == problem) & (frame["method"] == FLOW)]
        end = descent["flow_time"].max()
        settings = f"{problem}, learning rate {rate:g}, flow time {end:g}"
        for inequality, measure in CLAIMS.items():
            if measure is _leaves and "distance" not in frame:
                continue
            values = [
                measure(run, flow[flow["seed"] == seed], rate)
                for seed, run in descent.groupby("seed")
            ]
            rows.append(inequality.judged(values, settings))
    return table(rows)


Measure = Callable[[pd.DataFrame, pd.DataFrame, float], float | None]


def _crossing(run: pd.DataFrame, rate: float) -> int | None:
    """The place of the first look at the edge; None where there is none."""
    at_edge = np.flatnonzero(run["sharpness"].to_numpy() * rate >= 2)
    return int(at_edge[0]) if len(at_edge) else None


def _flow_passes(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    return float(flow["sharpness"].max() * rate / 2)


def _held(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    first = _crossing(run, rate)
    return None if first is None else float(run["sharpness"].iloc[first:].mean() * rate)


def _before(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    first = _crossing(run, rate)
    return None if not first else float(run["distance"].iloc[:first].max())


def _leaves(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    before = _before(run, flow, rate)
    return None if not before else float(run["distance"].iloc[-1] / before)


def _rises_before(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    first = _crossing(run, rate)
    return None if not first else float(run["rises"].iloc[first - 1])


def _rises(run: pd.DataFrame, flow: pd.DataFrame, rate: float) -> float | None:
    return None if _crossing(run, rate) is None else float(run["rises"].iloc[-1])


CLAIMS: dict[Inequality, Measure] = {
    Inequality(
        "flow-passes",
        "The flow's sharpness passes 2/η. Measured: its largest λ₁(𝓗) over 2/η.",
        "> 1",
        lambda value: value > 1,
    ): _flow_passes,
    Inequality(
        "descent-is-held",
        "Gradient descent is held there: λ₁(𝓗)η hovers at 2. Measured: its mean from the first "
        f"look at the edge on; holds within {HOVER[0]:g} to {HOVER[1]:g}.",
        "1.88 to 2.07",
        lambda value: HOVER[0] <= value <= HOVER[1],
    ): _held,
    Inequality(
        "leaves-after",
        "Gradient descent leaves the flow only after λ₁(𝓗) has crossed 2/η. Measured: its relative "
        "distance from the flow at the end over the largest before; holds from 5 on.",
        "(in words)",
        lambda value: value >= 5,
    ): _leaves,
    Inequality(
        "loss-falls-before",
        "Before that the loss never rises. Measured: steps that raised it before the last look "
        "below the edge.",
        "0",
        lambda value: value == 0,
    ): _rises_before,
    Inequality(
        "loss-rises-at-the-edge",
        "At the edge the loss rises in hundreds of steps, and falls all the same. Measured: steps "
        "that raised it; holds from 100 on.",
        "hundreds",
        lambda value: value >= 100,
    ): _rises,
}
