"""What is said of central flows, with the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.base import CENTRAL, DESCENT, FLOW, SHAKEN

COHEN = "Cohen et al. 2024, arXiv:2410.24206, section 3"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, problem, learning rate and way to descend, at the edge.

    The looks are those of the second half of the time from where the central flow comes to the
    edge, seed by seed. A seed that does not come there has nothing to say.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for (problem, rate), runs in frame.groupby(["problem", "learning_rate"], sort=False):
        end = runs["flow_time"].max()
        seeds = [seed for _, run in runs.groupby("seed") if (seed := _at_edge(run, end))]
        for descent, words in WAYS.items():
            if (runs["method"] == descent).any():
                settings = f"{problem}, η = {rate:g}{words}, second half from the edge to {end:g}"
                for claim, measure in CLAIMS.items():
                    rows.append(claim.judged((measure(s, descent) for s in seeds), settings))
    return table(rows)


Methods = dict[str, pd.DataFrame]
# How descent is followed, in words, and the column that has the distance from it.
WAYS = {DESCENT: "", SHAKEN: " with noise"}
DISTANCES = {DESCENT: "distance", SHAKEN: "distance_with_noise"}


def _at_edge(seed: pd.DataFrame, end: float) -> Methods | None:
    """The looks that count, by method; None if the central flow does not come to the edge."""
    held = (seed["method"] == CENTRAL) & (seed["rank"] > 0)
    if not held.any():
        return None
    begin = seed.loc[held, "flow_time"].min()
    late = seed[seed["flow_time"] > (begin + end) / 2]
    return {str(method): run for method, run in late.groupby("method")}


def _distance(seed: Methods, descent: str) -> float:
    column = DISTANCES[descent]
    return float(seed[CENTRAL][column].median() / seed[FLOW][column].median())


def _ratio(name: str) -> Callable[[Methods, str], float]:
    return lambda seed, descent: float(seed[CENTRAL][name].mean() / seed[descent][name].mean())


CLAIMS: dict[Claim, Callable[[Methods, str], float]] = {
    Claim(
        "central-flow-is-nearer",
        "Descent follows its central flow: that is ten times nearer than the flow.",
        "median distance from the mean place of descent over 21 steps, over that of the flow",
        within=(0.0, 0.1),
    ): _distance,
    Claim(
        "variance-is-predicted",
        "The central flow predicts the variance of the oscillation along the direction in which "
        "it is largest, within 20 %.",
        "mean of the predicted over that of the observed",
        COHEN,
        "in figures",
        within=(0.8, 1.2),
    ): _ratio("variance"),
    Claim(
        "loss-is-predicted",
        "It predicts the mean loss of descent, within 5 %.",
        "mean of the predicted over that of the observed",
        COHEN,
        "in figures",
        within=(0.95, 1.05),
    ): _ratio("mean_loss"),
}
