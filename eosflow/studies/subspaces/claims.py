"""What the sources say of steps inside and outside of the top subspace, with their verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Inequality, table
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, PUSHED


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study, from its table: medians over the seeds.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    seeds = [
        {str(method): course for method, course in runs.groupby("method")}
        for _, runs in frame.groupby("seed")
    ]
    first = frame.loc[frame["method"] == BEFORE, "iteration"].max()
    rate, steps = frame["learning_rate"].iloc[0], frame["iteration"].max() - first
    settings = f"cheb-4, learning rate {rate:g}, {steps} steps from step {first} on"
    rows = [
        inequality.judged([measure(runs) for runs in seeds], settings)
        for inequality, measure in CLAIMS.items()
    ]
    return table(rows)


Runs = dict[str, pd.DataFrame]
Measure = Callable[[Runs], float]


def _loss(run: pd.DataFrame) -> float:
    """The loss at the end; infinite where the run diverged."""
    return math.inf if run["diverged"].iloc[-1] else float(run["loss"].iloc[-1])


def _losses(above: str, below: str) -> Measure:
    return lambda runs: _loss(runs[above]) / _loss(runs[below])


def _edge(run: pd.DataFrame) -> float:
    """The mean of λ₁(𝓗)η over the later half of the looks."""
    late = run.iloc[len(run) // 2 :]
    return float((late["sharpness"] * late["learning_rate"]).mean())


CLAIMS: dict[Inequality, Measure] = {
    Inequality(
        "gradient-is-dominant",
        "At the edge most of the gradient lies in the top subspace. Measured: its share of ‖∇𝓛‖², "
        "the mean along gradient descent from the switch on; holds from 0.5 on.",
        "(in words)",
        lambda value: value >= 0.5,
    ): lambda runs: float(runs[DESCENT]["gradient_share"].mean()),
    Inequality(
        "dominant-is-flat",
        "Steps within that subspace do not lower the loss. Measured: the loss of Dominant-SGD at "
        "the end over that at the switch; holds from 0.9 on.",
        "(in words)",
        lambda value: value >= 0.9,
    ): _losses(DOMINANT, BEFORE),
    Inequality(
        "descent-beats-dominant",
        "Gradient descent does better than they do. Measured: the loss of Dominant-SGD at the end "
        "over that of gradient descent.",
        "> 1",
        lambda value: value > 1,
    ): _losses(DOMINANT, DESCENT),
    Inequality(
        "bulk-learns",
        "Steps outside of it lower the loss as well as gradient descent. Measured: the loss of "
        "Bulk-SGD at the end over that of gradient descent; holds up to 1.1.",
        "(in words)",
        lambda value: value <= 1.1,
    ): _losses(BULK, DESCENT),
    Inequality(
        "bulk-sharpens",
        "Without the top subspace nothing holds the sharpness at 2/η. Measured: the mean of λ₁(𝓗)η "
        "over the later half of Bulk-SGD; holds from 3 on.",
        "far above 2",
        lambda value: value >= 3,
    ): lambda runs: _edge(runs[BULK]),
    Inequality(
        "nudged-is-lower",
        "A smaller step in the top subspace gives a lower loss. Measured: the loss of Nudged-SGD "
        "with γ = 0.1 at the end over that of gradient descent.",
        "< 1",
        lambda value: value < 1,
    ): _losses(NUDGED, DESCENT),
    Inequality(
        "nudged-is-sharper",
        "It also gives a higher sharpness. Measured: the mean of λ₁(𝓗) over the later half, γ = "
        "0.1 over gradient descent.",
        "> 1",
        lambda value: value > 1,
    ): lambda runs: _edge(runs[NUDGED]) / _edge(runs[DESCENT]),
    Inequality(
        "pushed-diverges",
        "A step five times as large in the top subspace diverges. Measured: 1 where γ = 5 does, "
        "else 0.",
        "diverges",
        lambda value: value == 1,
    ): lambda runs: float(runs[PUSHED]["diverged"].iloc[-1]),
}
