"""The power law between peak alignment and the number of examples (E14), and the paper's fits."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.weightstats import DescrStatsW

from eosflow.results import paper, run_summaries
from eosflow.results.paper import Experiment

FEWEST_SIZES = 3  # two determine the line and leave nothing to judge it by
CONFIDENCE = 0.95
PAPER_COLUMNS = ("paper_a", "paper_b", "paper_r_squared", "paper_b_low", "paper_b_high")


@dataclass(frozen=True)
class PowerLaw:
    """A = a·N^b over all runs, R² in log space, and how far groups of runs agree on it.

    Runs of one subset are not independent: they share examples, and a smaller N has the first of
    those of a larger. So an interval comes from one line per subset and Student's t over these,
    with a degree of freedom less than there are subsets; it is missing (NaN) with fewer than two.
    `b_low_initialisations` and `b_high_initialisations` are the same by initialisation, whose runs
    share their first weights. `bend` is the coefficient of (log N)² in a quadratic, by subsets too:
    0 of a power law, negative if the exponent falls as N grows.
    `lines` (subsets, 2) are log a and b of each.
    """

    a: float
    b: float
    r_squared: float
    a_low: float
    a_high: float
    b_low: float
    b_high: float
    b_low_initialisations: float
    b_high_initialisations: float
    bend: float
    bend_low: float
    bend_high: float
    r_squared_low: float
    r_squared_high: float
    runs: int
    subsets: int
    lines: np.ndarray = field(repr=False, compare=False)

    def band(self, n: np.ndarray) -> pd.DataFrame:
        """The fitted A at each of `n` (points,) and its 95 % interval: `fit`, `low`, `high`."""
        design = np.column_stack([np.ones(len(n)), np.log(n)])
        fitted = design @ [np.log(self.a), self.b]
        half = half_widths(self.lines @ design.T)
        ends = {"fit": fitted, "low": fitted - half, "high": fitted + half}
        return pd.DataFrame(ends).apply(np.exp)


# The numbers of a fit in Table 2.
COLUMNS = [each.name for each in fields(PowerLaw) if each.type == "float"]


def half_widths(values: np.ndarray) -> np.ndarray:
    """Half the 95 % interval of the mean of each column of (observations, columns)."""
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - CONFIDENCE)
    return np.asarray((high - low) / 2)


def why_not(n: pd.Series, alignment: pd.Series) -> str:
    """Why no power law can be fitted to these runs, in words; empty if one can."""
    if len(n) == 0:
        return "no finished runs"
    if (sizes := n.nunique()) < FEWEST_SIZES:
        return f"finished runs at {sizes} size{'s' * (sizes > 1)}, a fit needs {FEWEST_SIZES}"
    if not (alignment > 0).all():
        return "an alignment is zero or not a number, which has no logarithm"
    if alignment.nunique() < 2:
        return "the alignment of all runs is the same, which leaves R² undefined"
    return ""


def fit(
    n: pd.Series, alignment: pd.Series, subset: pd.Series, initialisation: pd.Series
) -> PowerLaw:
    """Ordinary least squares of log A on log N; all arguments are (runs,).

    Implements: E14, with the intervals described in `PowerLaw`. A subset or an initialisation has a
    line from two sizes on, a quadratic from three on.

    Raises: ValueError if `why_not` names a reason.
    """
    reason = why_not(n, alignment)
    if reason:
        raise ValueError(reason)
    points = pd.DataFrame({"x": np.log(n.to_numpy(float)), "y": np.log(alignment.to_numpy(float))})
    subsets, initialisations = subset.to_numpy(), initialisation.to_numpy()
    whole, bent = _polynomial(points, 1), _polynomial(points, 2)
    fitted = _by_group(points, subsets, 1)
    lines = np.array([line.params for line in fitted]).reshape(-1, 2)
    others = np.array([line.params for line in _by_group(points, initialisations, 1)])
    bends = np.array([curve.params[2:] for curve in _by_group(points, subsets, 2)])
    squares = np.array([[line.rsquared] for line in fitted])
    log_a, b = whole.params
    half_a, half_b = half_widths(lines)
    (bend,) = bent.params[2:]
    half_b_other = half_widths(others.reshape(-1, 2))[1]
    (half_bend,) = half_widths(bends.reshape(-1, 1))
    (half_square,) = half_widths(squares.reshape(-1, 1))
    a = _interval("a", log_a, half_a)
    squared = _interval("r_squared", whole.rsquared, half_square)
    squared["r_squared_high"] = min(squared["r_squared_high"], 1.0)
    return PowerLaw(
        **{name: float(np.exp(value)) for name, value in a.items()},
        **_interval("b", b, half_b),
        b_low_initialisations=float(b - half_b_other),
        b_high_initialisations=float(b + half_b_other),
        **_interval("bend", bend, half_bend),
        **squared,
        runs=len(points),
        subsets=len(lines),
        lines=lines,
    )


def _interval(name: str, value: float, half: float) -> dict[str, float]:
    ends = {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    return {key: float(end) for key, end in ends.items()}


def _by_group(points: pd.DataFrame, groups: np.ndarray, degree: int) -> list[Any]:
    """A polynomial of each group that has sizes enough for one."""
    parts = [part for _, part in points.groupby(groups)]
    return [_polynomial(part, degree) for part in parts if part["x"].nunique() > degree]


def _polynomial(points: pd.DataFrame, degree: int) -> Any:
    """statsmodels' regression of log A on the powers of log N."""
    return OLS(points["y"], np.vander(points["x"], degree + 1, increasing=True)).fit()


def paper_law(law: Experiment, n: Any) -> tuple[Any, Any, Any]:
    """The paper's a·N^b at N, and the lowest and highest that its rounding of a and b allows."""
    return (
        law.a * n**law.b,
        (law.a - paper.ROUNDING_A) * n ** (law.b - paper.ROUNDING_B),
        (law.a + paper.ROUNDING_A) * n ** (law.b + paper.ROUNDING_B),
    )


def _paper_interval(law: Experiment) -> Any:
    """The usual 95 % interval of the paper's b, as if its runs were independent.

    The paper prints none; it follows from b, R² and the number of runs.
    """
    freedom = paper.RUNS_PER_SIZE * len(law.sizes) - 2
    error = law.b * np.sqrt((1 / law.r_squared - 1) / freedom)
    return stats.t.interval(CONFIDENCE, freedom, loc=law.b, scale=error)


def paper_fit(experiment: str, dataset: str, criterion: str) -> Experiment | None:
    """The paper's fit of an experiment; None of one that is not the paper's."""
    known = paper.EXPERIMENTS.get(experiment)
    return known if known and known.key == (dataset, criterion) else None


def fits(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One fit per experiment: the paper's five in its order, if one was run, then any others.

    Only runs that stopped at their target loss and have alignments count; `runs_left_out` says how
    many others there are. Where no fit can be made its columns are empty and `note` says why.

    Returns: `experiment`, `dataset`, `criterion`, `COLUMNS`, `runs`, `subsets` (that the intervals
    come from), `paper_a`, `paper_b`, `paper_r_squared`, `paper_b_low`, `paper_b_high` (missing of
    other experiments), `runs_left_out`, `note`.
    """
    finished = run_summaries.finished(decomposition, runs)
    peaks = run_summaries.alignment_peaks(finished)
    rows = []
    present = _present(runs)
    papers = {name: each.key for name, each in paper.EXPERIMENTS.items()}
    papers = papers if present.keys() & papers.keys() else {}
    for experiment, (dataset, criterion) in (papers | present).items():
        chosen = peaks[peaks["experiment"] == experiment]
        every = runs[runs["experiment"] == experiment]
        reached = int((every["stopped"] == "target_loss").sum())
        points = chosen["n"], chosen["alignment"]
        seeds = chosen["subset_seed"], chosen["init_seed"]
        law = None if why_not(*points) else fit(*points, *seeds)
        printed = paper_fit(experiment, dataset, criterion)
        known = [np.nan] * 5
        if printed:
            known = [printed.a, printed.b, printed.r_squared, *_paper_interval(printed)]
        rows.append(
            {
                "dataset": dataset,
                "criterion": criterion,
                **{name: np.nan if law is None else getattr(law, name) for name in COLUMNS},
                "runs": len(chosen),
                "subsets": law.subsets if law else 0,
                **dict(zip(PAPER_COLUMNS, known, strict=True)),
                "runs_left_out": len(every) - len(chosen),
                "note": _note(chosen, reached),
                "experiment": experiment,
            }
        )
    return pd.DataFrame(rows)


def without_own_column(table: pd.DataFrame) -> pd.DataFrame:
    """The table without its column `experiment` if all are the paper's: it then says nothing new.

    The paper has one experiment of each dataset and criterion; others can share both.
    """
    own = set(table["experiment"]) - set(paper.EXPERIMENTS)
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
