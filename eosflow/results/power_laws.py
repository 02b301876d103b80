"""The power law between peak alignment and the number of examples (E14), and the paper's fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.stats.weightstats import DescrStatsW

from eosflow.results import courses
from eosflow.results.figures import EXPERIMENTS

# Table 2 of Lowell & Kastner 2024: (dataset, criterion) -> a, b, R².
PAPER: dict[tuple[str, str], tuple[float, float, float]] = {
    ("dice", "cross_entropy"): (0.0017, 0.23, 0.84),
    ("cifar10", "cross_entropy"): (0.0004, 0.49, 0.97),
    ("cifar10", "squared_error"): (0.0004, 0.20, 0.74),
    ("atrialfibrillation", "cross_entropy"): (0.0026, 0.45, 0.93),
    ("sst", "cross_entropy"): (0.0001, 0.67, 0.98),
}

# The experiment of each; no other experiment is the paper's.
OF_EXPERIMENT = dict(zip(EXPERIMENTS, PAPER, strict=True))

FEWEST_RUNS = 3  # two points determine the line and leave nothing to judge it by
COLUMNS = ["a", "b", "r_squared", "a_low", "a_high", "b_low", "b_high"]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """A = a·N^b over all runs, R² in log space, and how far subsets agree on it.

    Runs of one subset are not independent: they share examples, and a smaller N has the first of
    those of a larger. So the intervals come from one line per subset and Student's t over these
    `lines` (subsets, 2), log a and b of each, with `subsets` − 1 degrees of freedom; they are
    missing (NaN) with fewer than two.
    """

    a: float
    b: float
    r_squared: float
    a_low: float
    a_high: float
    b_low: float
    b_high: float
    runs: int
    subsets: int
    lines: np.ndarray = field(repr=False, compare=False)

    def band(self, n: np.ndarray) -> pd.DataFrame:
        """The fitted A at each of `n` (points,) and its 95 % interval: `fit`, `low`, `high`."""
        design = np.column_stack([np.ones(len(n)), np.log(n)])
        fitted = design @ [np.log(self.a), self.b]
        half = _half_widths(self.lines @ design.T)
        ends = {"fit": fitted, "low": fitted - half, "high": fitted + half}
        return pd.DataFrame(ends).apply(np.exp)


def _half_widths(values: np.ndarray) -> np.ndarray:
    """Half the 95 % interval of the mean of each column of (subsets, columns)."""
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - CONFIDENCE)
    return np.asarray((high - low) / 2)


def why_not(n: pd.Series, alignment: pd.Series) -> str:
    """Why no power law can be fitted to these runs, in words; empty where one can."""
    if len(n) == 0:
        return "no finished runs"
    if len(n) < FEWEST_RUNS:
        return f"{len(n)} finished run{'s' if len(n) > 1 else ''}, a fit needs {FEWEST_RUNS}"
    if n.nunique() < 2:
        return f"all runs have N = {n.iloc[0]}, a fit needs two sizes"
    if not (alignment > 0).all():
        return "an alignment is zero or not a number, which has no logarithm"
    if alignment.nunique() < 2:
        return "the alignment of all runs is the same, which leaves R² undefined"
    return ""


def fit(n: pd.Series, alignment: pd.Series, subset: pd.Series) -> PowerLaw:
    """Ordinary least squares of log A on log N; `n`, `alignment` and `subset` are (runs,).

    Implements: E14, with the intervals described in `PowerLaw`. Subsets of which fewer than two
    sizes were run have no line of their own.

    Raises: ValueError where `why_not` names a reason.
    """
    reason = why_not(n, alignment)
    if reason:
        raise ValueError(reason)
    points = pd.DataFrame({"n": n.to_numpy(), "a": alignment.to_numpy(), "of": subset.to_numpy()})
    whole = _least_squares(points)
    groups = [group for _, group in points.groupby("of") if group["n"].nunique() > 1]
    lines = np.array([_least_squares(group).params for group in groups]).reshape(-1, 2)
    log_a, b = whole.params
    half_a, half_b = _half_widths(lines)
    return PowerLaw(
        a=float(np.exp(log_a)),
        b=float(b),
        r_squared=float(whole.rsquared),
        a_low=float(np.exp(log_a - half_a)),
        a_high=float(np.exp(log_a + half_a)),
        b_low=float(b - half_b),
        b_high=float(b + half_b),
        runs=len(points),
        subsets=len(lines),
        lines=lines,
    )


def _least_squares(points: pd.DataFrame) -> Any:
    """statsmodels' regression of log A on log N."""
    design = np.column_stack([np.ones(len(points)), np.log(points["n"].to_numpy(dtype=float))])
    return sm.OLS(np.log(points["a"].to_numpy(dtype=float)), design).fit()


def paper_fit(experiment: str, dataset: str, criterion: str) -> tuple[float, float, float] | None:
    """The paper's a, b, R² of an experiment; None of one that is not the paper's."""
    key = (dataset, criterion)
    return PAPER[key] if OF_EXPERIMENT.get(experiment) == key else None


def fits(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One fit per experiment: the paper's five in its order, then any others.

    Only runs that stopped at their target loss and have alignments count; `runs_left_out` says how
    many others there are. Where no fit can be made its columns are empty and `note` says why.

    Returns: `dataset`, `criterion`, `COLUMNS`, `runs`, `subsets` (of those that the intervals come
    from), `paper_a`, `paper_b`, `paper_r_squared`
    (missing of other experiments), `runs_left_out`, `note`; where there are other experiments than
    the paper's, also `experiment`.
    """
    finished = courses.finished(decomposition, runs)
    peaks = courses.alignment_peaks(finished)
    rows = []
    for experiment, (dataset, criterion) in (OF_EXPERIMENT | _present(runs)).items():
        chosen = peaks[peaks["experiment"] == experiment]
        every = runs[runs["experiment"] == experiment]
        reached = int((every["stopped"] == "target_loss").sum())
        points = chosen["n"], chosen["alignment"]
        law = None if why_not(*points) else fit(*points, chosen["subset_seed"])
        paper = paper_fit(experiment, dataset, criterion) or (np.nan, np.nan, np.nan)
        rows.append(
            {
                "dataset": dataset,
                "criterion": criterion,
                **{name: np.nan if law is None else getattr(law, name) for name in COLUMNS},
                "runs": len(chosen),
                "subsets": law.subsets if law else 0,
                **dict(zip(("paper_a", "paper_b", "paper_r_squared"), paper, strict=True)),
                "runs_left_out": len(every) - len(chosen),
                "note": _note(chosen, reached),
                "experiment": experiment,
            }
        )
    return without_own_column(pd.DataFrame(rows))


def without_own_column(table: pd.DataFrame) -> pd.DataFrame:
    """The table without its column `experiment` if all are the paper's: it then says nothing new.

    The paper has one experiment of each dataset and criterion; others can share both.
    """
    own = set(table["experiment"]) - set(OF_EXPERIMENT)
    return table if own else table.drop(columns="experiment")


def _present(runs: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Dataset and criterion of each experiment that was run."""
    columns = ["experiment", "dataset", "criterion"]
    rows = runs[columns].drop_duplicates().itertuples(index=False, name=None)
    return {experiment: (dataset, criterion) for experiment, dataset, criterion in rows}


def _note(peaks: pd.DataFrame, reached: int) -> str:
    """Why there is no fit, and how many finished runs have no alignment."""
    lacking = reached - len(peaks)
    without = f"{lacking} finished run{'s' if lacking > 1 else ''} without alignments"
    if not lacking:
        return why_not(peaks["n"], peaks["alignment"])
    if peaks.empty:
        return without
    parts = [why_not(peaks["n"], peaks["alignment"]), f"{without} left out"]
    return "; ".join(filter(None, parts))
