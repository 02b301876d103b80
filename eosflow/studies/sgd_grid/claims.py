"""What is said of learning rate and batch size, measured on each seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from eosflow.studies.base import Sampled

Settings = tuple[float, int]  # learning rate, batch size


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim, network and pair of settings, from ratios of runs with one start.

    The peak of a run is its largest λ₁(𝓗) after the start. A peak at the end of a run is censored:
    the true one may come later. Seeds of which a run diverged are left out.
    """
    for (network, n), runs in frame.groupby(["network", "n"], sort=False):
        known = runs[(runs["stopped"] != "diverged") & (runs["iteration"] > 0)]
        by_settings = {
            settings: dict(list(part.groupby(["seed", "subset_seed"])))
            for settings, part in known.groupby(["learning_rate", "batch"])
        }
        for name, low, high in _pairs(runs):
            first, second = (by_settings.get(settings, {}) for settings in (low, high))
            pairs = [(first[seed], second[seed]) for seed in first if seed in second]
            words = " against ".join(f"η = {rate:g}, batch {size}" for rate, size in (low, high))
            if name != TEMPERATURE:
                cut = (sum(map(censored, side)) for side in zip(*pairs, strict=True))
                words += "; peaks cut off: {}, {}".format(*cut) if pairs else ""
            values = [MEASURES[name](*pair) for pair in pairs]
            yield name, values, f"{network}, N = {n}: {words}"


def axes(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of different learning rates at one batch size, and of batch sizes at one rate.

    The one batch size is that with the most learning rates, and the other way round.
    """
    settings = runs[["learning_rate", "batch"]].drop_duplicates()
    batch = settings["batch"].value_counts(sort=True).index[0]
    rate = settings["learning_rate"].value_counts(sort=True).index[0]
    return runs[runs["batch"] == batch], runs[runs["learning_rate"] == rate]


def _pairs(runs: pd.DataFrame) -> Iterator[tuple[str, Settings, Settings]]:
    """Each claim with the two settings it compares: the ends of an axis, or those of equal η/B."""
    rates, batches = map(_settings, axes(runs))
    for what, found in (("-rate-", rates), ("-batch-", batches[::-1])):
        for name in MEASURES:
            if what in name and len(found) > 1:
                yield name, found[0], found[-1]
    for first, second in itertools.combinations(_settings(runs), 2):
        if abs(first[0] / first[1] * second[1] / second[0] - 1) < 1e-9:
            yield TEMPERATURE, first, second


def _settings(runs: pd.DataFrame) -> list[Settings]:
    found = runs[["learning_rate", "batch"]].drop_duplicates().itertuples(index=False)
    return sorted((float(rate), int(size)) for rate, size in found)


def censored(run: pd.DataFrame) -> bool:
    """Whether the largest λ₁ is the last, so that the peak may come after the end."""
    return _peak(run) == len(run) - 1


def _peak(run: pd.DataFrame) -> int:
    """The place of the largest λ₁."""
    return int(run["eigenvalue_1"].to_numpy().argmax())


def _peaks(low: pd.DataFrame, high: pd.DataFrame) -> float:
    """The ratio of the peaks; at most too small if the first is censored, unknown otherwise."""
    ratio = low["eigenvalue_1"].max() / high["eigenvalue_1"].max()
    return np.nan if censored(high) else float(ratio)


def _times(low: pd.DataFrame, high: pd.DataFrame) -> float:
    """The ratio of their iterations, likewise; unknown if both peak at the same evaluation."""
    first, second = (run["iteration"].iloc[_peak(run)] for run in (low, high))
    return np.nan if censored(high) or first == second else float(first / second)


def _means(low: pd.DataFrame, high: pd.DataFrame) -> float:
    """The ratio of the means over the flow time that both have."""
    end = min(run["flow_time"].max() for run in (low, high)) * (1 + 1e-9)
    first, second = (run.loc[run["flow_time"] <= end, "eigenvalue_1"].mean() for run in (low, high))
    return float(first / second)


TEMPERATURE = "same-temperature"
MEASURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], float]] = {
    "larger-rate-lower-peak": _peaks,
    "larger-rate-earlier-peak": _times,
    "smaller-batch-lower-peak": _peaks,
    "smaller-batch-earlier-peak": _times,
    TEMPERATURE: _means,
}
