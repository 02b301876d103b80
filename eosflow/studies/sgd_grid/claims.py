"""What is said of learning rate and batch size, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.analysis.claims import Claim, table

ALIKE = 1.25  # λ₁ of two settings with the same η/B counts as the same within this factor
FIGURE = "Jastrzębski et al. 2019, arXiv:1807.05031, Figure 4"

Settings = tuple[float, int]  # learning rate, batch size


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, network and pair of settings, from ratios of runs with one start.

    The peak of a run is its largest λ₁(𝓗) after the start. A peak at the end of a run is censored:
    the true one may come later. Seeds of which a run diverged are left out.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for (network, n), runs in frame.groupby(["network", "n"], sort=False):
        for claim, low, high in _pairs(runs):
            first, second = (_seeds(runs, settings) for settings in (low, high))
            pairs = [(first[seed], second[seed]) for seed in first if seed in second]
            words = " against ".join(f"η = {rate:g}, batch {size}" for rate, size in (low, high))
            if claim is not TEMPERATURE:
                cut = (sum(map(censored, side)) for side in zip(*pairs, strict=True))
                words += "; peaks cut off: {}, {}".format(*cut) if pairs else ""
            values = [CLAIMS[claim](*pair) for pair in pairs]
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


def _pairs(runs: pd.DataFrame) -> Iterator[tuple[Claim, Settings, Settings]]:
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
    """The runs of some settings from the first evaluation after the start on, by their seeds."""
    chosen = runs[(runs["learning_rate"] == settings[0]) & (runs["batch"] == settings[1])]
    chosen = chosen[(chosen["stopped"] != "diverged") & (chosen["iteration"] > 0)]
    return dict(list(chosen.groupby(["seed", "subset_seed"])))


def censored(run: pd.DataFrame) -> bool:
    """Whether the largest λ₁ is the last, so that the peak may come after the end."""
    return bool(run["eigenvalue_1"].to_numpy().argmax() == len(run) - 1)


def _peaks(low: pd.DataFrame, high: pd.DataFrame) -> float | None:
    """The ratio of the peaks; at most too small if the first is censored, unknown otherwise."""
    return None if censored(high) else float(low["eigenvalue_1"].max() / high["eigenvalue_1"].max())


def _times(low: pd.DataFrame, high: pd.DataFrame) -> float | None:
    """The ratio of their iterations, likewise."""
    first, second = (run.set_index("iteration")["eigenvalue_1"].idxmax() for run in (low, high))
    return None if censored(high) else float(str(first)) / float(str(second))


def _means(low: pd.DataFrame, high: pd.DataFrame) -> float | None:
    """The ratio of the means over the flow time that both have."""
    end = min(run["flow_time"].max() for run in (low, high))
    within = [run.loc[run["flow_time"] <= end * (1 + 1e-9), "eigenvalue_1"] for run in (low, high)]
    return float(within[0].mean() / within[1].mean()) if all(map(len, within)) else None


_PEAK = "the peak of λ₁(𝓗) at the smallest η over that at the largest"
_BATCH = "the peak of λ₁(𝓗) with the largest batch over that with the smallest"
RATE = (
    Claim(
        "larger-rate-lower-peak",
        "A larger learning rate makes the peak of the sharpness smaller.",
        _PEAK,
        FIGURE,
        "smaller",
        above=1,
    ),
    Claim(
        "larger-rate-earlier-peak",
        "A larger learning rate makes it come earlier.",
        f"the iteration of {_PEAK}",
        FIGURE,
        "earlier",
        above=1,
    ),
)
BATCH = (
    Claim(
        "smaller-batch-lower-peak",
        "A smaller batch makes the peak of the sharpness smaller.",
        _BATCH,
        FIGURE,
        "smaller",
        above=1,
    ),
    Claim(
        "smaller-batch-earlier-peak",
        "A smaller batch makes it come earlier.",
        f"the iteration of {_BATCH}",
        FIGURE,
        "earlier",
        above=1,
    ),
)
TEMPERATURE = Claim(
    "same-temperature",
    "What counts is η over the batch size.",
    "mean λ₁(𝓗) of one run over that of another with the same quotient, over the same flow time",
    "Roberts, slide “Sharpness”",
    "temperature λ/B",
    within=(1 / ALIKE, ALIKE),
)
Ratio = Callable[[pd.DataFrame, pd.DataFrame], float | None]
CLAIMS: dict[Claim, Ratio] = {
    RATE[0]: _peaks,
    RATE[1]: _times,
    BATCH[0]: _peaks,
    BATCH[1]: _times,
    TEMPERATURE: _means,
}
