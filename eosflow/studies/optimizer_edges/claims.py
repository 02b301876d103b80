"""What is said of momentum, RMSprop and Adam at their own edges, and the verdicts on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Claim, table

MOMENTUM = "Cohen et al. 2021, arXiv:2103.00065, equation 1"
ADAPTIVE = "Cohen et al. 2022, arXiv:2207.14484, abstract"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and optimizer; numbers are shares of the optimizer's edge.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    for name, runs in frame.groupby("optimizer", sort=False):
        edge, rate = runs["edge"].iloc[0], runs["learning_rate"].iloc[0]
        source = MOMENTUM if name in ("Polyak", "Nesterov") else ADAPTIVE
        settings = f"cheb-4, {name}, η = {rate:g}, {runs['iteration'].max():,} steps"
        courses = [(run["sharpness"] * rate / edge).to_numpy() for _, run in runs.groupby("seed")]
        held, below = _claims(source, edge)
        rows.append(
            held.judged([np.median(course[len(course) // 2 :]) for course in courses], settings)
        )
        rows.append(below.judged(map(_before, courses), settings))
    return table(rows)


def _claims(source: str, edge: float) -> tuple[Claim, Claim]:
    """What is said of an optimizer whose edge is λ₁(P⁻¹𝓗)η = `edge`."""
    held = Claim(
        "held-at-its-edge",
        "The sharpness hovers at the optimizer's own edge.",
        "median of λ₁(P⁻¹𝓗)η over the second half, over the edge",
        source,
        f"{edge:.4g}/η",
        within=(0.9, 1.1),
    )
    below = Claim(
        "below-before",
        "Before it gets there it is below.",
        "median of λ₁(P⁻¹𝓗)η before the first evaluation at the edge, over the edge",
        below=0.9,
    )
    return held, below


def _before(course: np.ndarray) -> float | None:
    beyond = np.flatnonzero(course >= 1)
    first = beyond[0] if len(beyond) else len(course)
    return float(np.median(course[:first])) if first else None
