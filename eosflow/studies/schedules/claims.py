"""What the source says of schedules and weight decay at the edge, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Inequality, table

BAND = (1.8, 2.2)  # "at 2"
LAST = 0.25  # of the run
HOLDS_WITHIN = f"holds within {BAND[0]:g} to {BAND[1]:g}."


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study, from its table; `measured` is the median over the seeds.

    A run is at the edge from the first look at which λ₁(𝓗)η_t ≥ 2; what is said of the time after
    leaves out the seeds in which that never comes.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for inequality, (case, measure) in CLAIMS.items():
        runs = frame[frame["case"] == case]
        if runs.empty:
            continue
        settings = f"cheb-4, {case}, learning rate {runs['learning_rate'].max():g} at most"
        settings += f", {runs['iteration'].max()} steps"
        rows.append(inequality.judged([measure(run) for _, run in runs.groupby("seed")], settings))
    return table(rows)


Measure = Callable[[pd.DataFrame], float | None]


def _at_edge(run: pd.DataFrame) -> pd.DataFrame:
    """The looks from the first at the edge on."""
    beyond = np.flatnonzero(run["sharpness"] * run["learning_rate"] >= 2)
    return run[beyond[0] if len(beyond) else len(run) :]


def _median(run: pd.DataFrame) -> float | None:
    """The median of (λ₁ + weight decay)η_t; None where there is no look."""
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


CLAIMS: dict[Inequality, tuple[str, Measure]] = {
    Inequality(
        "below-at-the-drop",
        "When η is halved, the sharpness is far below the new 2/η. Measured: λ₁(𝓗)η at the first "
        f"look after; holds below {BAND[0]:g}.",
        "< 2",
        lambda value: value < BAND[0],
    ): ("drop", _at_drop),
    Inequality(
        "climbs-to-the-new-edge",
        "It then climbs to the new 2/η. Measured: the median of λ₁(𝓗)η over the last quarter of "
        f"the run; {HOLDS_WITHIN}",
        "2",
        lambda value: BAND[0] <= value <= BAND[1],
    ): ("drop", _long_after_drop),
    Inequality(
        "follows-warm-up",
        "In a warm-up the sharpness is held at the falling 2/η. Measured: the median of λ₁(𝓗)η "
        f"from the first look at the edge on; {HOLDS_WITHIN}",
        "2",
        lambda value: BAND[0] <= value <= BAND[1],
    ): ("warm-up", _held),
    Inequality(
        "warm-up-flattens",
        "So it falls. Measured: λ₁(𝓗) at the end over that at the first look at the edge.",
        "< 1",
        lambda value: value < 1,
    ): ("warm-up", _falls),
    Inequality(
        "cosine-sharpens",
        "Where η falls as a cosine, the sharpness rises past the edge of the full η. Measured: "
        "λ₁(𝓗) at the end over that at the first look at the edge.",
        "> 1",
        lambda value: value > 1,
    ): ("cosine", _falls),
    Inequality(
        "decay-shifts-the-edge",
        "With weight decay the edge is λ₁(𝓗) + decay = 2/η. Measured: the median of that sum "
        f"times η from the first look at the edge on; {HOLDS_WITHIN}",
        "2",
        lambda value: BAND[0] <= value <= BAND[1],
    ): ("weight decay 0.001", _held),
    Inequality(
        "large-decay-collapses",
        "Weight decay 0.01 leaves a constant output. Measured: the loss at the end over that of "
        "the best constant; holds within 1 % of 1.",
        "1",
        lambda value: abs(value - 1) <= 0.01,
    ): ("weight decay 0.01", _to_constant),
}
