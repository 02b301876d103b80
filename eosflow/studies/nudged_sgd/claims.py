"""What the source says of Nudged-SGD, with its verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.analysis.claims import Inequality, table

SGD, NUDGED, PUSHED = 1.0, 0.1, 5.0  # γ


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of Nudged-SGD, from its table: medians over the seeds.

    Every claim sets a γ beside γ = 1, which is SGD, from the same start and with the same batches.
    A run that diverged has an infinite loss, and no number for the other claims.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for settings, runs in frame.groupby(["network", "n", "learning_rate", "batch"], sort=False):
        network, n, rate, batch = settings
        steps = runs["steps"].max()
        words = f"{network}, N = {n}: learning rate {rate:g}, batch {batch}, {steps} steps"
        for claim, (gamma, measure) in CLAIMS.items():
            pairs = list(_pairs(runs, gamma))
            if pairs:
                rows.append(claim.judged([measure(*pair) for pair in pairs], words))
    return table(rows)


def _pairs(runs: pd.DataFrame, gamma: float) -> Iterator[tuple[pd.Series, pd.Series]]:
    """The run of this γ and that of SGD, of each seed that has both."""
    of_gamma, of_sgd = (
        runs[runs["gamma"] == value].set_index(["seed", "subset_seed"]) for value in (gamma, SGD)
    )
    for seed in of_gamma.index.intersection(of_sgd.index):
        yield of_gamma.loc[seed], of_sgd.loc[seed]


Measure = Callable[[pd.Series, pd.Series], float | None]


def _losses(run: pd.Series, sgd: pd.Series) -> float | None:
    if sgd["stopped"] == "diverged":
        return None
    return math.inf if run["stopped"] == "diverged" else float(run["loss"] / sgd["loss"])


def _sharpness(run: pd.Series, sgd: pd.Series) -> float | None:
    if "diverged" in (run["stopped"], sgd["stopped"]):
        return None
    return float(run["sharpness_end"] / sgd["sharpness_end"])


def _accuracies(column: str) -> Measure:
    def measure(run: pd.Series, sgd: pd.Series) -> float | None:
        difference = float(run[column] - sgd[column])
        return None if math.isnan(difference) else difference

    return measure


WORDS = "(in words)"
CLAIMS: dict[Inequality, tuple[float, Measure]] = {
    Inequality(
        "nudged-lower-loss",
        "A smaller step in the sharpest directions ends at a lower loss. Measured: the training "
        "loss at γ = 0.1 over that of SGD (γ = 1).",
        "< 1",
        lambda value: value < 1,
    ): (NUDGED, _losses),
    Inequality(
        "nudged-sharper",
        "It ends sharper. Measured: λ₁(𝓗) of the last search at γ = 0.1 over that of SGD.",
        "> 1",
        lambda value: value > 1,
    ): (NUDGED, _sharpness),
    Inequality(
        "nudged-faster",
        "It trains faster. Measured: the held-out accuracy early on at γ = 0.1 less that of SGD.",
        "> 0",
        lambda value: value > 0,
    ): (NUDGED, _accuracies("early_held_out_accuracy")),
    Inequality(
        "nudged-generalizes",
        "It may generalize better. Measured: the held-out accuracy at the end at γ = 0.1 less that "
        "of SGD.",
        "> 0",
        lambda value: value > 0,
    ): (NUDGED, _accuracies("held_out_accuracy")),
    Inequality(
        "pushed-flatter",
        "A larger step there ends flatter. Measured: λ₁(𝓗) of the last search at γ = 5 over that "
        "of SGD, of the seeds at which neither diverged.",
        "< 1",
        lambda value: value < 1,
    ): (PUSHED, _sharpness),
    Inequality(
        "pushed-higher-loss",
        "It trains worse. Measured: the training loss at γ = 5 over that of SGD, infinite where "
        "γ = 5 diverged.",
        "> 1",
        lambda value: value > 1,
    ): (PUSHED, _losses),
}
