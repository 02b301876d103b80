"""What the slides say of the effective number of parameters, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from eosflow.studies.base import Sampled, each

PARAMETERS = 300  # of cheb-4


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim."""
    end, rates = frame["flow_time"].max(), frame["learning_rate"]
    settings = f"cheb-4, η from {rates.min():g} to {rates.max():g}, flow time {end:g}"
    runs = [run for _, run in frame.groupby("seed")]
    return each(MEASURES, [(settings, runs)])


Measure = Callable[[pd.DataFrame], float]


def _at_the_end(column: str) -> Measure:
    """The quantity at the end with the largest learning rate, over that with the smallest."""

    def measure(run: pd.DataFrame) -> float:
        rates = run["learning_rate"]
        end = run[run["flow_time"] == run["flow_time"].max()].set_index("learning_rate")[column]
        # One of the two may have diverged.
        return float(end.get(rates.max(), np.nan) / end.get(rates.min(), np.nan))

    return measure


def _changed(column: str) -> Measure:
    """By what factor a quantity changes in other coordinates, the larger way round."""
    return lambda run: float(np.exp(np.abs(np.log(run[column]))).median())


MEASURES: dict[str, Measure] = {
    "count-is-invariant": lambda run: float((run["turned_effective"] - 1).abs().max()),
    "sharpness-is-not": _changed("turned_sharpness"),
    "trace-is-not": _changed("turned_trace"),
    "count-of-the-hessian": lambda run: float((~run["of_hessian"].between(0, PARAMETERS)).mean()),
    "large-rates-tame-the-sharpness": _at_the_end("sharpness"),
    "large-rates-tame-the-number": _at_the_end("effective"),
    "large-rates-tame-the-relative-number": _at_the_end("effective_relative"),
}
