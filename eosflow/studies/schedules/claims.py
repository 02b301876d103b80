"""What we expect of schedules and weight decay at the edge, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Claim, table

BAND = (1.8, 2.2)  # "at 2"
LAST = 0.25  # of the run


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim.

    A run is at the edge from the first evaluation at which λ₁(𝓗)η_t ≥ 2; claims on the time after
    leave out the seeds in which that never comes.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for claim, (case, measure) in CLAIMS.items():
        runs = frame[frame["case"] == case]
        if runs.empty:
            continue
        most, steps = runs["learning_rate"].max(), runs["iteration"].max()
        settings = f"cheb-4, {case}, η at most {most:g}, {steps:,} steps"
        rows.append(claim.judged([measure(run) for _, run in runs.groupby("seed")], settings))
    return table(rows)


Measure = Callable[[pd.DataFrame], float | None]


def _at_edge(run: pd.DataFrame) -> pd.DataFrame:
    """The evaluations from the first at the edge on."""
    beyond = np.flatnonzero(run["sharpness"] * run["learning_rate"] >= 2)
    return run[beyond[0] if len(beyond) else len(run) :]


def _median(run: pd.DataFrame) -> float | None:
    """The median of (λ₁ + weight decay)η_t; None without an evaluation."""
    products = (run["sharpness"] + run["weight_decay"]) * run["learning_rate"]
    return float(products.median()) if len(run) else None


def _at_drop(run: pd.DataFrame) -> float | None:
    return _median(run[run["learning_rate"] < run["learning_rate"].max()][:1])


def _long_after_drop(run: pd.DataFrame) -> float | None:
    return _median(run[run["iteration"] > (1 - LAST) * run["iteration"].max()])


def _held(run: pd.DataFrame) -> float | None:
    return _median(_at_edge(run))


def _falls(run: pd.DataFrame) -> float | None:
    edge = _at_edge(run)
    return float(edge["sharpness"].iloc[-1] / edge["sharpness"].iloc[0]) if len(edge) else None


def _to_constant(run: pd.DataFrame) -> float | None:
    return float(run["loss"].iloc[-1] / run["constant_loss"].iloc[-1])


ENDS = "λ₁(𝓗) at the end over that at the first evaluation at the edge"
CLAIMS: dict[Claim, tuple[str, Measure]] = {
    Claim(
        "below-at-the-drop",
        "When η is halved, the sharpness is far below the new 2/η.",
        "λ₁(𝓗)η at the first evaluation after",
        below=BAND[0],
    ): ("drop", _at_drop),
    Claim(
        "climbs-to-the-new-edge",
        "It then climbs to the new 2/η.",
        "median of λ₁(𝓗)η over the last quarter",
        within=BAND,
    ): ("drop", _long_after_drop),
    Claim(
        "follows-warm-up",
        "In a warm-up the sharpness is held at the falling 2/η.",
        "median of λ₁(𝓗)η from the first evaluation at the edge on",
        within=BAND,
    ): ("warm-up", _held),
    Claim("warm-up-flattens", "So it falls.", ENDS, below=1): ("warm-up", _falls),
    Claim(
        "cosine-sharpens",
        "If η falls as a cosine, the sharpness rises past the edge of the full η.",
        ENDS,
        above=1,
    ): ("cosine", _falls),
    Claim(
        "decay-shifts-the-edge",
        "With weight decay the edge is λ₁(𝓗) + decay = 2/η.",
        "median of that sum times η from the first evaluation at the edge on",
        within=BAND,
    ): ("weight decay 0.001", _held),
    Claim(
        "large-decay-collapses",
        "Weight decay 0.01 leaves a constant output.",
        "loss at the end over that of the best constant",
        within=(0.99, 1.01),
    ): ("weight decay 0.01", _to_constant),
}
