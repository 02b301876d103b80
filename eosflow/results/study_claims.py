"""What the studies of the other two sources show: each inequality, with its seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.results.claims import CONTRADICTED, HOLDS, NOT_ENOUGH
from eosflow.runs.names import FLOW

FEWEST_SEEDS = 5  # seeds scatter: medians of fewer prove nothing
COLUMNS = ["claim", "statement", "source", "measured", "seeds", "holds", "settings"]
# λ₁η "hovers at 2 and a little above".
HOVER = (1.85, 2.15)


def edge_of_stability(table: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of gradient descent against the flow, from its table.

    One row per claim, problem and learning rate. `measured` is the median over the seeds. A run is
    at the edge from the first look at which λ₁(𝓗) ≥ 2/η; what is said of the time before or after
    leaves out the seeds in which that never comes.

    Returns: `COLUMNS`.
    """
    rows = []
    for (problem, found), descent in table.groupby(["problem", "learning_rate"], sort=False):
        rate = float(str(found))
        flow = table[(table["problem"] == problem) & (table["method"] == FLOW)]
        end = descent["flow_time"].max()
        settings = f"{problem}, learning rate {rate:g}, flow time {end:g}"
        for name, (statement, source, measure, passes) in CLAIMS.items():
            values = [
                measure(run, flow[flow["seed"] == seed], rate)
                for seed, run in descent.groupby("seed")
            ]
            known = np.array([value for value in values if value is not None], dtype=float)
            median = float(np.median(known)) if len(known) else np.nan
            enough = len(known) >= FEWEST_SEEDS
            verdict = (HOLDS if passes(median) else CONTRADICTED) if enough else NOT_ENOUGH
            rows.append((name, statement, source, f"{median:.3g}", len(known), verdict, settings))
    return pd.DataFrame(rows, columns=COLUMNS)


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


CLAIMS: dict[str, tuple[str, str, Measure, Callable[[float], bool]]] = {
    "flow-passes": (
        "The flow's sharpness passes 2/η. Measured: its largest λ₁(𝓗) over 2/η.",
        "> 1",
        _flow_passes,
        lambda value: value > 1,
    ),
    "descent-is-held": (
        "Gradient descent is held there: λ₁(𝓗)η hovers at 2. Measured: its mean from the first "
        f"look at the edge on; holds within {HOVER[0]:g} to {HOVER[1]:g}.",
        "1.88 to 2.07",
        _held,
        lambda value: HOVER[0] <= value <= HOVER[1],
    ),
    "leaves-after": (
        "Gradient descent leaves the flow only after λ₁(𝓗) has crossed 2/η. Measured: its relative "
        "distance from the flow at the end over the largest before; holds from 5 on.",
        "(in words)",
        _leaves,
        lambda value: value >= 5,
    ),
    "loss-falls-before": (
        "Before that the loss never rises. Measured: steps that raised it before the last look "
        "below the edge.",
        "0",
        _rises_before,
        lambda value: value == 0,
    ),
    "loss-rises-at-the-edge": (
        "At the edge the loss rises in hundreds of steps, and falls all the same. Measured: steps "
        "that raised it; holds from 100 on.",
        "hundreds",
        _rises,
        lambda value: value >= 100,
    ),
}


# The verdicts of each study that has some, from its table.
JUDGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {"edge-of-stability": edge_of_stability}
