"""What is said of Nudged-SGD, and the verdicts on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.analysis.claims import Claim, table

SGD, NUDGED, PUSHED = 1.0, 0.1, 5.0  # γ
ABSTRACT = "Jastrzębski et al. 2019, arXiv:1807.05031, abstract"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and setting, from pairs of a γ and γ = 1, which is SGD.

    A run that diverged has an infinite loss, and no number for the other claims.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for settings, runs in frame.groupby(["network", "n", "learning_rate", "batch"], sort=False):
        network, n, rate, batch = settings
        steps = runs["steps"].max()
        words = f"{network}, N = {n}: η = {rate:g}, batch {batch}, {steps} steps"
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
    return lambda run, sgd: 100 * float(run[column] - sgd[column])


CLAIMS: dict[Claim, tuple[float, Measure]] = {
    Claim(
        "nudged-lower-loss",
        "A smaller step in the sharpest directions ends at a lower loss.",
        "training loss at γ = 0.1 over that of SGD (γ = 1)",
        below=1,
    ): (NUDGED, _losses),
    Claim(
        "nudged-sharper",
        "It leads to sharper solutions.",
        "λ₁(𝓗) of the last search at γ = 0.1 over that of SGD",
        ABSTRACT,
        "sharper",
        above=1,
    ): (NUDGED, _sharpness),
    Claim(
        "nudged-faster",
        "It can improve training speed.",
        "held-out accuracy early on at γ = 0.1 less that of SGD, in percentage points",
        ABSTRACT,
        "can improve",
        above=0,
    ): (NUDGED, _accuracies("early_held_out_accuracy")),
    Claim(
        "nudged-generalizes",
        "It can lead to better generalizing solutions.",
        "held-out accuracy at the end at γ = 0.1 less that of SGD, in percentage points",
        ABSTRACT,
        "can lead to",
        above=0,
    ): (NUDGED, _accuracies("held_out_accuracy")),
    Claim(
        "pushed-flatter",
        "A larger step there ends flatter.",
        "λ₁(𝓗) of the last search at γ = 5 over that of SGD, if neither diverged",
        below=1,
    ): (PUSHED, _sharpness),
    Claim(
        "pushed-higher-loss",
        "It trains worse.",
        "training loss at γ = 5 over that of SGD, infinite if γ = 5 diverged",
        above=1,
    ): (PUSHED, _losses),
}
