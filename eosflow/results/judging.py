"""The paper's claims: a number of each run, on which side of a limit it should lie, the verdict.

A verdict comes from runs of one experiment. It is one of three: the claim holds, it is
contradicted, or these runs cannot tell. The interval behind it is that of the studies' claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import pandas as pd

from eosflow.analysis import claims
from eosflow.analysis.claims import CANNOT_TELL, CONTRADICTED, FEWEST_SEEDS, HOLDS
from eosflow.results import courses
from eosflow.results.claim_measures import Evidence

NOT_JUDGED = "not judged"  # what the authors saw, and no law

# Fewer neither hold nor contradict: below six runs the sign test has no 95 % interval.
FEWEST_RUNS = FEWEST_SEEDS
ROUNDING = 1e-9  # a number that is constant must not count as risen


class Kind(Enum):
    """What a claim says of the runs of an experiment."""

    USUAL = "the median over runs is on the claim's side"
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

    @property
    def inequality(self) -> claims.Claim:
        """The claim on the median over runs, as the studies judge theirs."""
        end = self.limit + ROUNDING
        within = (-math.inf, end) if self.at_most else (end, math.inf)
        return claims.Claim(self.name, self.statement, "", "LK24", self.paper, within=within)

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
    """What some runs say of a claim: their median with its 95 % interval, and the extreme run."""

    verdict: str
    count: int
    median: float
    low: float
    high: float
    extreme: float


def judged(claim: Claim, rows: pd.DataFrame, enough: bool = True) -> Verdict:
    """What the numbers of some runs say of a claim, by its kind.

    Usual: the 95 % interval of the median over runs, by the sign test, lies on the claim's side or
    on the other. Every: it holds if no run is beyond the limit, and is contradicted if the interval
    is. Some: it holds if it happened in six runs; that it did not in others contradicts nothing.
    Otherwise, and with fewer than six runs, they cannot tell.
    """
    values, count = rows["value"], int(rows["count"].sum())
    found = claims.interval(values)
    if "low" in rows:  # a fit, which has its own interval
        median, low, high = (float(rows[name].iloc[0]) for name in ("value", "low", "high"))
        found = claims.Interval(median, low, high, count)
    return Verdict(
        _verdict(claim, rows, found, enough),
        count,
        found.median,
        found.low,
        found.high,
        float(claim.extreme(rows)["value"]),
    )


def _verdict(claim: Claim, rows: pd.DataFrame, found: claims.Interval, enough: bool) -> str:
    if claim.kind is Kind.SEEN:
        return NOT_JUDGED
    if int(rows["count"].sum()) < FEWEST_RUNS:
        return CANNOT_TELL
    sides = claim.holds_at(rows["value"])
    if claim.kind is Kind.SOME:
        return HOLDS if sides.sum() >= FEWEST_RUNS else CANNOT_TELL
    verdict = CANNOT_TELL if math.isnan(found.low) else claim.inequality.verdict(found)
    if claim.kind is Kind.USUAL:
        return verdict
    # A rate of all runs of an experiment is one number, which has no interval.
    if verdict == CONTRADICTED or (len(rows) == 1 and not sides.all()):
        return CONTRADICTED
    return HOLDS if sides.all() and enough else CANNOT_TELL
