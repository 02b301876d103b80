"""What is said of central flows, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.studies.base import CENTRAL, DESCENT, FLOW, SHAKEN, Sampled, each

# The runs of a seed by method, and the way to descend that they are compared with.
Compared = tuple[dict[str, pd.DataFrame], str]
# How descent is followed, in words, and the column that has the distance from it.
WAYS = {DESCENT: "", SHAKEN: " with noise"}
DISTANCES = {DESCENT: "distance", SHAKEN: "distance_with_noise"}


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim, problem, learning rate and way to descend, at the edge.

    The evaluations are those of the second half of the time from where the central flow comes to
    the edge, seed by seed. A seed that does not come there has nothing to say.
    """
    return each(MEASURES, _groups(frame))


def _groups(frame: pd.DataFrame) -> Iterator[tuple[str, list[Compared]]]:
    for (problem, _), runs in frame.groupby(["problem", "learning_rate"], sort=False):
        rate, end = runs["learning_rate"].iloc[0], runs["flow_time"].max()
        seeds = [seed for _, run in runs.groupby("seed") if (seed := _at_edge(run, end))]
        for descent, words in WAYS.items():
            if (runs["method"] == descent).any():
                settings = f"{problem}, η = {rate:g}{words}, second half from the edge to {end:g}"
                yield settings, [(seed, descent) for seed in seeds]


def _at_edge(seed: pd.DataFrame, end: float) -> dict[str, pd.DataFrame] | None:
    """The evaluations that count, by method; None if the central flow does not reach the edge."""
    held = (seed["method"] == CENTRAL) & (seed["rank"] > 0)
    if not held.any():
        return None
    begin = seed.loc[held, "flow_time"].min()
    late = seed[seed["flow_time"] > (begin + end) / 2]
    return {str(method): run for method, run in late.groupby("method")}


def _distance(compared: Compared) -> float:
    seed, descent = compared
    column = DISTANCES[descent]
    return float(seed[CENTRAL][column].median() / seed[FLOW][column].median())


def _ratio(name: str) -> Callable[[Compared], float]:
    return lambda compared: float(
        compared[0][CENTRAL][name].mean() / compared[0][compared[1]][name].mean()
    )


MEASURES: dict[str, Callable[[Compared], float]] = {
    "central-flow-is-nearer": _distance,
    "variance-is-predicted": _ratio("variance"),
    "loss-is-predicted": _ratio("mean_loss"),
}
