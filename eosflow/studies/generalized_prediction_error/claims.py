"""What is said of prediction error, evidence and noise on the weights, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from eosflow.studies.base import Sampled

RIDGE = 0.1  # at which the error at new inputs is judged
SCALE = 0.01  # of the noise on the weights


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim."""
    parts = {part: [run for _, run in rows.groupby("seed")] for part, rows in frame.groupby("part")}
    for name, (part, measure) in MEASURES.items():
        yield name, map(measure, parts.get(part, [])), SETTINGS[part]


def _elsewhere(run: pd.DataFrame) -> float:
    row = run[run["alpha"] == RIDGE].iloc[0]
    return float(row["gap_elsewhere"] / row["expected"])


def _margins(run: pd.DataFrame) -> pd.Series:
    """By how much the log evidence of the model the data come from is above the best other."""
    wide = run.pivot(index="truth", columns="degree", values="log_evidence")
    return pd.Series({t: wide.loc[t, t] - wide.loc[t].drop(t).max() for t in sorted(wide.index)})


def _added(kind: str) -> Callable[[pd.DataFrame], float]:
    def measure(run: pd.DataFrame) -> float:
        row = run[(run["noise"] == kind) & (run["scale"] == SCALE)].iloc[0]
        return float(row["added"] / row["predicted"])

    return measure


SETTINGS = {
    "ridge": "ridge regression, 40 examples, 20 features",
    "evidence": "polynomials of degree 1, 3, 9",
    "noise": f"cheb-4 after 1,600 steps at η = 0.3, s = {SCALE:g}",
}
MEASURES: dict[str, tuple[str, Callable[[pd.DataFrame], float]]] = {
    "prediction-error": ("ridge", lambda run: float((run["gap"] / run["expected"]).mean())),
    "prediction-error-elsewhere": ("ridge", _elsewhere),
    "middle-model-wins": ("evidence", lambda run: float(_margins(run).iloc[1])),
    "each-model-wins-on-its-own": ("evidence", lambda run: float(_margins(run).min())),
    "noise-on-all-weights": ("noise", _added("all weights")),
    "noise-along-the-sharpest": ("noise", _added("along q₁")),
}
