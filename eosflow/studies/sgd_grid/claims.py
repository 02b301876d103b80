"""What the source says of learning rate and batch size, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.analysis.claims import Inequality, table

# λ₁ of two settings with the same η/B counts as the same within this factor.
ALIKE = 1.25

Settings = tuple[float, int]  # learning rate, batch size


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of learning rates and batch sizes, from its table.

    One row per claim, network and pair of settings. `measured` is the median over the seeds of a
    ratio between two runs from the same start. The peak of a run is its largest λ₁(𝓗) after the
    start, which the runs share. Seeds of which a run diverged are left out.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for (network, n), runs in frame.groupby(["network", "n"], sort=False):
        for claim, low, high in _pairs(runs):
            first, second = (_seeds(runs, settings) for settings in (low, high))
            values = [CLAIMS[claim](first[seed], second[seed]) for seed in first if seed in second]
            words = ", ".join(f"learning rate {rate:g}, batch {size}" for rate, size in (low, high))
            rows.append(claim.judged(values, f"{network}, N = {n}: {words}"))
    return table(rows)


def axes(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of different learning rates at one batch size, and of batch sizes at one rate.

    The one batch size is that with the most learning rates, and the other way round.
    """
    settings = runs[["learning_rate", "batch"]].drop_duplicates()
    batch = settings["batch"].value_counts(sort=True).index[0]
    rate = settings["learning_rate"].value_counts(sort=True).index[0]
    return runs[runs["batch"] == batch], runs[runs["learning_rate"] == rate]


def _pairs(runs: pd.DataFrame) -> Iterator[tuple[Inequality, Settings, Settings]]:
    """Each claim with the two settings it compares: the ends of an axis, or those of equal η/B."""
    rates, batches = axes(runs)
    for claims, axis in ((RATE, rates), (BATCH, batches)):
        found = sorted(_settings(axis), reverse=claims is BATCH)
        if len(found) > 1:
            for claim in claims:
                yield claim, found[0], found[-1]
    known = sorted(_settings(runs))
    for number, first in enumerate(known):
        for second in known[number + 1 :]:
            if abs(first[0] / first[1] * second[1] / second[0] - 1) < 1e-9:
                yield TEMPERATURE, first, second


def _settings(runs: pd.DataFrame) -> list[Settings]:
    found = runs[["learning_rate", "batch"]].drop_duplicates()
    return [(float(rate), int(size)) for rate, size in found.itertuples(index=False)]


def _seeds(runs: pd.DataFrame, settings: Settings) -> dict[object, pd.DataFrame]:
    """The looks at the runs of some settings after the start, by their seeds."""
    chosen = runs[(runs["learning_rate"] == settings[0]) & (runs["batch"] == settings[1])]
    chosen = chosen[(chosen["stopped"] != "diverged") & (chosen["iteration"] > 0)]
    return dict(list(chosen.groupby(["seed", "subset_seed"])))


def _peaks(low: pd.DataFrame, high: pd.DataFrame) -> float:
    return float(low["eigenvalue_1"].max() / high["eigenvalue_1"].max())


def _times(low: pd.DataFrame, high: pd.DataFrame) -> float:
    first, second = (run.set_index("iteration")["eigenvalue_1"].idxmax() for run in (low, high))
    return float(str(first)) / float(str(second))


def _means(low: pd.DataFrame, high: pd.DataFrame) -> float:
    return float(low["eigenvalue_1"].mean() / high["eigenvalue_1"].mean())


WORDS = "(in words)"
RATE = (
    Inequality(
        "larger-rate-lower-peak",
        "A larger learning rate η makes the peak of the sharpness lower. Measured: the peak at the "
        "smallest η over that at the largest.",
        "> 1",
        lambda value: value > 1,
    ),
    Inequality(
        "larger-rate-earlier-peak",
        "A larger η makes it come earlier. Measured: the iteration of the peak at the smallest η "
        "over that at the largest.",
        "> 1",
        lambda value: value > 1,
    ),
)
BATCH = (
    Inequality(
        "smaller-batch-lower-peak",
        "A smaller batch makes the peak of the sharpness lower. Measured: the peak with the "
        "largest batch over that with the smallest.",
        "> 1",
        lambda value: value > 1,
    ),
    Inequality(
        "smaller-batch-earlier-peak",
        "A smaller batch makes it come earlier. Measured: the iteration of the peak with the "
        "largest batch over that with the smallest.",
        "> 1",
        lambda value: value > 1,
    ),
)
TEMPERATURE = Inequality(
    "same-temperature",
    "What counts is η over the batch size. Measured: the mean sharpness of one run over that of "
    f"another with the same quotient; holds within a factor of {ALIKE:g}.",
    WORDS,
    lambda value: 1 / ALIKE <= value <= ALIKE,
)
Ratio = Callable[[pd.DataFrame, pd.DataFrame], float]
CLAIMS: dict[Inequality, Ratio] = {
    RATE[0]: _peaks,
    RATE[1]: _times,
    BATCH[0]: _peaks,
    BATCH[1]: _times,
    TEMPERATURE: _means,
}
