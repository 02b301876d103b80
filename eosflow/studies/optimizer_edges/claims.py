"""What the source says of momentum, RMSprop and Adam at their own edges, with its verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Inequality, table

# λ₁(P⁻¹𝓗)η over the number at which a quadratic turns unstable.
BAND = (0.9, 1.1)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study, from its table: one row per claim and optimizer.

    `measured` is the median over the seeds of medians over looks. What is said of the time before
    the edge leaves out the seeds that begin there.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for name, runs in frame.groupby("optimizer", sort=False):
        edge, rate = runs["edge"].iloc[0], runs["learning_rate"].iloc[0]
        settings = f"cheb-4, {name}, learning rate {rate:g}, {runs['iteration'].max()} steps"
        courses = [
            (run["sharpness"] * run["learning_rate"]).to_numpy() for _, run in runs.groupby("seed")
        ]
        at_edge, before = _claims(edge)
        rows.append(at_edge.judged([_second_half(course) for course in courses], settings))
        rows.append(before.judged([_before(course, edge) for course in courses], settings))
    return table(rows)


def _claims(edge: float) -> tuple[Inequality, Inequality]:
    """What is said of an optimizer whose edge is λ₁(P⁻¹𝓗)η = `edge`."""
    low, high = edge * BAND[0], edge * BAND[1]
    at_edge = Inequality(
        "held-at-its-edge",
        "The sharpness hovers at the optimizer's own edge. Measured: the median of λ₁(P⁻¹𝓗)η "
        f"over the second half; holds within {low:.4g} to {high:.4g}.",
        f"{edge:.4g}",
        lambda value: low <= value <= high,
    )
    before = Inequality(
        "below-before",
        "Before it gets there it is below. Measured: the median of λ₁(P⁻¹𝓗)η over the looks "
        f"before the first at the edge; holds below {low:.4g}.",
        f"< {edge:.4g}",
        lambda value: value < low,
    )
    return at_edge, before


def _second_half(course: np.ndarray) -> float:
    return float(np.median(course[len(course) // 2 :]))


def _before(course: np.ndarray, edge: float) -> float | None:
    beyond = np.flatnonzero(course >= edge)
    first = beyond[0] if len(beyond) else len(course)
    return float(np.median(course[:first])) if first else None
