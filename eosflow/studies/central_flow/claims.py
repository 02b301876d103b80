"""What is said of central flows, with the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.base import CENTRAL, DESCENT, FLOW

COHEN = "Cohen et al. 2024, arXiv:2410.24206, section 3"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, problem and learning rate, over the later half of the looks.

    A seed at which no direction oscillates in that time has nothing to say.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for (problem, rate), runs in frame.groupby(["problem", "learning_rate"], sort=False):
        end = runs["flow_time"].max()
        settings = f"{problem}, η = {rate:g}, flow time {end / 2:g} to {end:g}"
        late = runs[runs["flow_time"] > end / 2]
        seeds = [_methods(seed) for _, seed in late.groupby("seed")]
        at_edge = [seed for seed in seeds if seed[CENTRAL]["rank"].max() > 0]
        rows += [claim.judged(map(measure, at_edge), settings) for claim, measure in CLAIMS.items()]
    return table(rows)


Methods = dict[str, pd.DataFrame]


def _methods(seed: pd.DataFrame) -> Methods:
    return {str(method): run for method, run in seed.groupby("method")}


def _distance(seed: Methods) -> float:
    return float(seed[CENTRAL]["distance"].median() / seed[FLOW]["distance"].median())


def _ratio(name: str) -> Callable[[Methods], float]:
    return lambda seed: float(seed[CENTRAL][name].mean() / seed[DESCENT][name].mean())


CLAIMS: dict[Claim, Callable[[Methods], float]] = {
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
