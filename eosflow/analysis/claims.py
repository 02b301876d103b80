"""One type of claim, for the paper and for the studies, and its verdict from several seeds.

A claim is about the median of one number per seed; when runs are compared, the number is that of a
pair with the same seed. Its 95 % interval is that of the sign test (scipy.stats.quantile_test),
which asks nothing of the distribution but independent seeds: without an effect a claim holds in at
most 2.5 % of the cases. The interval takes six seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

HOLDS, CONTRADICTED, CANNOT_TELL = "holds", "contradicted", "cannot tell"
NOT_ENOUGH, NOT_RUN = "not enough runs", "not run"
# Of what no source says and we expect.
AS_EXPECTED, UNEXPECTED = "as expected", "not as expected"
VERDICTS = (HOLDS, CONTRADICTED, AS_EXPECTED, UNEXPECTED, CANNOT_TELL, NOT_ENOUGH, NOT_RUN)
EXPECTED = "expected here"

LEVEL = 0.95
# Of fewer, all on one side of the median come by chance too often: 2 · 2^−n > 1 − LEVEL.
FEWEST_SEEDS = math.ceil(1 - math.log2(1 - LEVEL))

COLUMNS = [
    *("claim", "statement", "source", "says", "measured", "low", "high"),
    *("verdict", "seeds", "looks", "settings"),
]


@dataclass(frozen=True)
class Interval:
    """The median of independent numbers, and the ends of its interval, NaN if they are too few."""

    median: float
    low: float
    high: float
    count: int


def interval(values: Iterable[float]) -> Interval:
    """The 95 % interval of the median by the sign test; numbers may be infinite."""
    known = np.array(list(values), dtype=float)
    if not len(known):
        return Interval(math.nan, math.nan, math.nan, 0)
    # The middle of two infinite numbers is none to numpy.
    ordered = np.sort(known)
    lower, upper = ordered[(len(known) - 1) // 2], ordered[len(known) // 2]
    median = lower if lower == upper else (lower + upper) / 2
    low, high = stats.quantile_test(known, p=0.5).confidence_interval(LEVEL)
    return Interval(float(median), float(low), float(high), len(known))


@dataclass(frozen=True)
class Claim:
    """A statement: its name and words, what is measured, who says it, and which numbers agree.

    `source` is a page, equation or figure that one can open, and `says` its number or words; a
    claim without a source is what we expect. Numbers agree above `above`, below `below`, or from
    the first to the second of `within`.
    """

    name: str
    words: str
    measured: str
    source: str = ""
    says: str = ""
    above: float = -math.inf
    below: float = math.inf
    within: tuple[float, float] = (-math.inf, math.inf)

    def verdict(self, found: Interval) -> str:
        """What an interval says of the claim."""
        if not found.count:
            return NOT_RUN
        if math.isnan(found.low):
            return NOT_ENOUGH
        first, last = self.within
        # Numbers may be infinite, and without a limit they are no less on its side.
        above = math.isinf(self.above) or self.above < found.low
        inside = above and (math.isinf(self.below) or found.high < self.below)
        if inside and first <= found.low and found.high <= last:
            return HOLDS if self.source else AS_EXPECTED
        if found.high < max(self.above, first) or found.low > min(self.below, last):
            return CONTRADICTED if self.source else UNEXPECTED
        return CANNOT_TELL

    @property
    def bounds(self) -> str:
        """Which numbers agree, in words."""
        if math.isfinite(self.above):
            return f"above {self.above:g}"
        if math.isfinite(self.below):
            return f"below {self.below:g}"
        first, last = self.within
        if math.isinf(last):
            return f"{first:g} or more"
        if math.isinf(first):
            return f"at most {last:g}"
        return f"{first:g}" if first == last else f"{first:g} to {last:g}"

    def judged(self, values: Iterable[float | None], settings: str) -> dict[str, object]:
        """A row of `COLUMNS`, from a number per seed; None for a seed that has nothing to say."""
        found = interval(value for value in values if value is not None and not math.isnan(value))
        return self.row(found, settings)

    def row(self, found: Interval, settings: str) -> dict[str, object]:
        """A row of `COLUMNS`."""
        return {
            "claim": self.name,
            "statement": f"{self.words} Measured: {self.measured}; holds: {self.bounds}.",
            "source": self.source or EXPECTED,
            "says": self.says,
            "measured": _rounded(found.median),
            "low": _rounded(found.low),
            "high": _rounded(found.high),
            "verdict": self.verdict(found),
            "seeds": found.count,
            "settings": settings,
        }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def table(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """The verdicts of a study. `looks` is how many of them were judged, each at its own risk."""
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    judged = ~frame["verdict"].isin([NOT_ENOUGH, NOT_RUN])
    return frame.assign(looks=int(judged.sum()))
