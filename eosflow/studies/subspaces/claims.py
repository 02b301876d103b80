"""What is said of steps inside and outside of the top subspace, and the verdicts on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, PUSHED, STALE

WINDOW = 200  # steps that a loss at the end is the mean over: at the edge it oscillates
SONG = "Song et al. 2025, arXiv:2405.16002, abstract"
NUDGING = "Jastrzębski et al. 2019, arXiv:1807.05031, abstract"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    seeds = [
        {str(method): run for method, run in runs.groupby("method")}
        for _, runs in frame.groupby("seed")
    ]
    first = frame.loc[frame["method"] == BEFORE, "iteration"].max()
    rate, steps = frame["learning_rate"].iloc[0], frame["iteration"].max() - first
    settings = f"cheb-4, η = {rate:g}, {steps} steps from step {first} on"
    return table(
        claim.judged([measure(runs) for runs in seeds], settings)
        for claim, measure in CLAIMS.items()
    )


Runs = dict[str, pd.DataFrame]
Measure = Callable[[Runs], float]


def _loss(run: pd.DataFrame) -> float:
    """The mean loss of the last `WINDOW` steps; infinite if the run diverged."""
    if run["diverged"].iloc[-1]:
        return math.inf
    last = run[run["iteration"] > run["iteration"].max() - WINDOW]
    return float(last["mean_loss"].mean())


def _losses(above: str, below: str) -> Measure:
    return lambda runs: _loss(runs[above]) / _loss(runs[below])


def _edge(run: pd.DataFrame) -> float:
    """The mean of λ₁(𝓗)η over the later half of the evaluations."""
    late = run.iloc[len(run) // 2 :]
    return float((late["sharpness"] * late["learning_rate"]).mean())


_MEAN = f"mean loss of the last {WINDOW} steps"
CLAIMS: dict[Claim, Measure] = {
    Claim(
        "gradient-is-dominant",
        "At the edge most of the gradient lies in the top subspace.",
        "its share of ‖∇𝓛‖², mean along gradient descent from the switch on",
        SONG,
        "aligned",
        above=0.5,
    ): lambda runs: float(runs[DESCENT]["gradient_share"].mean()),
    Claim(
        "dominant-is-flat",
        "Steps within that subspace do not lower the loss.",
        f"{_MEAN} of Dominant-SGD over that before the switch",
        SONG,
        "no further decrease",
        within=(0.9, math.inf),
    ): _losses(DOMINANT, BEFORE),
    Claim(
        "stale-subspace-raises",
        "Found only every ten steps, the subspace is stale and such steps raise the loss.",
        f"{_MEAN} of Dominant-SGD over that with the subspace of each step",
        above=1,
    ): _losses(STALE, DOMINANT),
    Claim(
        "descent-beats-dominant",
        "Gradient descent does better than Dominant-SGD.",
        f"{_MEAN} of Dominant-SGD over that of gradient descent",
        above=1,
    ): _losses(DOMINANT, DESCENT),
    Claim(
        "bulk-learns",
        "Steps outside of it lower the loss as well as gradient descent.",
        f"{_MEAN} of Bulk-SGD over that of gradient descent",
        SONG,
        "as effective",
        within=(0, 1.1),
    ): _losses(BULK, DESCENT),
    Claim(
        "bulk-sharpens",
        "Without the top subspace nothing holds the sharpness at 2/η.",
        "mean of λ₁(𝓗)η over the later half of Bulk-SGD",
        above=3,
    ): lambda runs: _edge(runs[BULK]),
    Claim(
        "nudged-is-lower",
        "A smaller step in the top subspace trains faster.",
        f"{_MEAN} of Nudged-SGD, γ = 0.1, over that of gradient descent",
        NUDGING,
        "improve training speed",
        below=1,
    ): _losses(NUDGED, DESCENT),
    Claim(
        "nudged-is-sharper",
        "It leads to sharper solutions.",
        "mean of λ₁(𝓗) over the later half, γ = 0.1 over gradient descent",
        NUDGING,
        "sharper",
        above=1,
    ): lambda runs: _edge(runs[NUDGED]) / _edge(runs[DESCENT]),
    Claim(
        "pushed-diverges",
        "A step five times as large in the top subspace diverges.",
        "1 if γ = 5 does, else 0",
        within=(1, 1),
    ): lambda runs: float(runs[PUSHED]["diverged"].iloc[-1]),
}
