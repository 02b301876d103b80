"""One type of claim: a number of each run, what side of a limit it should lie on, and the verdict.

A verdict comes from the runs of one experiment. It is one of three: the claim holds, it is
contradicted, or these runs cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd

from eosflow.analysis.claims import CANNOT_TELL, CONTRADICTED, HOLDS
from eosflow.results import courses, power_laws
from eosflow.results.claim_measures import Evidence

NOT_JUDGED = "not judged"  # what the authors saw, and no law

# An experiment with fewer runs neither holds nor contradicts.
FEWEST_RUNS = 3
ROUNDING = 1e-9  # a number that is constant must not count as risen


class Kind(Enum):
    """What a claim says of the runs of an experiment."""

    MEAN = "the mean over runs is on the claim's side"
    EVERY = "every run is on the claim's side"
    SOME = "some runs are on the claim's side"
    SEEN = "the largest that the authors saw"


@dataclass(frozen=True)
class Claim:
    """A claim: its name, what exactly is checked, the paper's number, the number of each run."""

    name: str
    statement: str
    paper: str
    unit: str  # "", "%" or "x", how `measured` is written
    measure: Callable[[pd.DataFrame, pd.DataFrame], Evidence]
    kind: Kind
    limit: float
    at_most: bool = False  # whether the numbers must lie below the limit, or above it
    # The snapshots that it is judged by.
    times: Callable[[pd.DataFrame], pd.DataFrame] = courses.paper_times

    def holds_at(self, values: pd.Series) -> pd.Series:
        """Whether each number is on the claim's side."""
        return values <= self.limit + ROUNDING if self.at_most else values > self.limit

    def extreme(self, rows: pd.DataFrame) -> pd.Series:
        """The row furthest from the claim; of what can happen, the furthest that it did."""
        largest = self.at_most or self.kind is Kind.SOME
        values = rows["value"].to_numpy()
        return rows.iloc[int(values.argmax() if largest else values.argmin())]


@dataclass(frozen=True)
class Verdict:
    """What one experiment says of a claim: its mean with a 95 % interval, and its extreme run."""

    verdict: str
    count: int
    mean: float
    low: float
    high: float
    extreme: float


def judged(claim: Claim, rows: pd.DataFrame, enough: bool = True) -> Verdict:
    """What the numbers of one experiment say of a claim, by its kind.

    Mean: it holds if the 95 % interval of the mean over runs (Student's t, of logarithms for a
    ratio) lies on the claim's side, and is contradicted if it lies on the other. Every: it holds if
    no run is beyond the limit, and is contradicted if the interval of the mean is. Some: it holds
    if it happened in three runs; that it did not in others contradicts nothing. Otherwise, and
    with fewer than three runs, the experiment cannot tell.
    """
    values, count = rows["value"], int(rows["count"].sum())
    if "low" in rows:  # a fit, with an interval of its own
        mean, low, high = (float(rows[name].iloc[0]) for name in ("value", "low", "high"))
    else:
        mean, low, high = _interval(values, logarithmic=claim.unit == "x")
    numbers = count, mean, low, high, float(claim.extreme(rows)["value"])
    ends = pd.Series([low, high])
    if claim.kind is Kind.SEEN:
        return Verdict(NOT_JUDGED, *numbers)
    if count < FEWEST_RUNS:
        return Verdict(CANNOT_TELL, *numbers)
    sides = claim.holds_at(values)
    clear = ends.notna().all()
    against = clear and not claim.holds_at(ends).any()
    if claim.kind is Kind.EVERY:
        # A rate of all runs of an experiment is one number, which has no interval.
        against = against or (len(rows) == 1 and not sides.all())
        in_favour = sides.all() and enough
    elif claim.kind is Kind.SOME:
        against, in_favour = False, sides.sum() >= FEWEST_RUNS
    else:
        in_favour = clear and claim.holds_at(ends).all()
    verdict = HOLDS if in_favour else CONTRADICTED if against else CANNOT_TELL
    return Verdict(verdict, *numbers)


def _interval(values: pd.Series, logarithmic: bool) -> tuple[float, float, float]:
    """The mean over runs and its 95 % interval, which one run does not have."""
    numbers = (np.log(values) if logarithmic else values).to_numpy(float).reshape(-1, 1)
    mean = float(numbers.mean())
    (half,) = power_laws.half_widths(numbers)
    ends = np.array([mean, mean - half, mean + half])
    mean, low, high = np.exp(ends) if logarithmic else ends
    return float(mean), float(low), float(high)
