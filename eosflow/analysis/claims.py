"""One type of claim, for the paper and for the studies, and its verdict from several seeds.

A claim is about one number per seed; when runs are compared, the number is that of a pair with the
same seed. The 95 % interval of their median is that of the sign test (scipy.stats.quantile_test),
which asks nothing of the distribution but independent seeds: without an effect a claim holds in at
most 2.5 % of the cases. The interval takes six seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

HOLDS, CONTRADICTED, CANNOT_TELL = "holds", "contradicted", "cannot tell"
NOT_ENOUGH, NOT_RUN, NOT_JUDGED = "not enough runs", "not run", "not judged"
# Of what no source says and we expect.
AS_EXPECTED, UNEXPECTED = "as expected", "not as expected"
VERDICTS = (HOLDS, CONTRADICTED, AS_EXPECTED, UNEXPECTED, CANNOT_TELL, NOT_ENOUGH, NOT_RUN)
EXPECTED = "expected here"

LEVEL = 0.95
# Of fewer, all on one side of the median come by chance too often: 2 · 2^−n > 1 − LEVEL.
FEWEST_SEEDS = math.ceil(1 - math.log2(1 - LEVEL))
ROUNDING = 1e-9  # a number that is constant must not count as risen

COLUMNS = [
    *("claim", "statement", "source", "says", "measured", "low", "high"),
    *("verdict", "seeds", "looks", "settings"),
]


class Kind(Enum):
    """Which numbers a claim is about."""

    USUAL = "the median agrees"
    EVERY = "every number agrees"
    SOME = "some numbers agree"
    SEEN = "the largest that the authors saw, and no law"


@dataclass(frozen=True)
class Sample:
    """Independent numbers, their median with its interval, NaN if they are too few.

    `count` is how many runs they are of. `decisive` is false if agreement would prove nothing.
    """

    values: NDArray[np.float64]
    median: float
    low: float
    high: float
    count: int
    decisive: bool = True

    @classmethod
    def of(
        cls, values: Iterable[float | None], count: int | None = None, decisive: bool = True
    ) -> Sample:
        """With the 95 % interval by the sign test; numbers may be infinite, None and NaN are none.

        Source: order statistics, see `scipy.stats.quantile_test`.
        """
        known = np.sort([v for v in values if v is not None and not math.isnan(v)]).astype(float)
        median = low = high = math.nan
        if len(known):
            # The middle of two infinite numbers is none to numpy.
            lower, upper = known[(len(known) - 1) // 2], known[len(known) // 2]
            median = float(lower if lower == upper else (lower + upper) / 2)
            low, high = map(float, stats.quantile_test(known, p=0.5).confidence_interval(LEVEL))
        return cls(known, median, low, high, len(known) if count is None else count, decisive)

    @classmethod
    def exact(cls, value: float) -> Sample:
        """A number that comes out the same on every seed."""
        return cls(np.array([value]), value, value, value, 1)


@dataclass(frozen=True)
class Claim:
    """A statement: its name and words, what is measured, who says it, and which numbers agree.

    `source` is a page, equation or figure that one can open, and `says` its number or words; a
    claim without a source is what we expect. Numbers agree above `above`, below `below`, or from
    the first to the second of `within`. `unit` is how they are written: "", "%" or "×".
    """

    name: str
    words: str
    measured: str
    source: str = ""
    says: str = ""
    above: float | None = None
    below: float | None = None
    within: tuple[float, float] = (-math.inf, math.inf)
    kind: Kind = Kind.USUAL
    unit: str = ""

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number that agrees."""
        if self.above is not None:
            return self.above + ROUNDING, math.inf
        if self.below is not None:
            return -math.inf, self.below - ROUNDING
        first, last = self.within
        return first - ROUNDING, last + ROUNDING

    def verdict(self, sample: Sample) -> str:
        """What a sample says of the claim.

        It holds if all of the median's interval agrees, and is contradicted if none of it does. If
        it is about every number, all of them must agree; if about some, six must, and that others
        do not contradicts nothing.
        """
        first, last = self.range
        agree = (first <= sample.values) & (sample.values <= last)
        if self.kind is Kind.SEEN:
            return NOT_JUDGED
        if not sample.count:
            return NOT_RUN
        if sample.count < FEWEST_SEEDS and math.isnan(sample.low):
            return NOT_ENOUGH
        if self.kind is Kind.SOME:
            holds = agree.sum() >= FEWEST_SEEDS
        elif sample.high < first or sample.low > last:
            return CONTRADICTED if self.source else UNEXPECTED
        elif self.kind is Kind.EVERY:
            holds = agree.all() and sample.decisive
        else:
            holds = first <= sample.low and sample.high <= last
        return (HOLDS if self.source else AS_EXPECTED) if holds else CANNOT_TELL

    def worst(self, values: NDArray[np.float64]) -> int:
        """Where the number furthest from agreeing is; of what can happen, the furthest it went."""
        largest = self.kind is Kind.SOME or math.isfinite(self.range[1])
        return int(values.argmax() if largest else values.argmin())

    @property
    def bounds(self) -> str:
        """Which numbers agree, in words."""
        if self.above is not None:
            return f"above {self._written(self.above)}"
        if self.below is not None:
            return f"below {self._written(self.below)}"
        first, last = map(self._written, self.within)
        if math.isinf(self.within[1]):
            return f"{first} or more"
        if math.isinf(self.within[0]):
            return f"at most {last}"
        return first if first == last else f"{first} to {last}"

    @property
    def statement(self) -> str:
        """The claim in words, with what is measured and which numbers agree."""
        where = {Kind.EVERY: " in every run", Kind.SOME: f" in {FEWEST_SEEDS} runs"}
        holds = f"; holds: {self.bounds}{where.get(self.kind, '')}"
        return f"{self.words} Measured: {self.measured}{holds * (self.kind is not Kind.SEEN)}."

    def _written(self, value: float) -> str:
        return f"{100 * value:g} %" if self.unit == "%" else f"{value:g} {self.unit}".strip()

    def judged(self, values: Iterable[float | None] | Sample, settings: str) -> dict[str, Any]:
        """A row of `COLUMNS`, from a number per seed; None for a seed that has nothing to say."""
        sample = values if isinstance(values, Sample) else Sample.of(values)
        return {
            "claim": self.name,
            "statement": self.statement,
            "source": self.source or EXPECTED,
            "says": self.says,
            **{name: _rounded(getattr(sample, end)) for name, end in _ENDS.items()},
            "verdict": self.verdict(sample),
            "seeds": sample.count,
            "settings": settings,
        }


_ENDS = {"measured": "median", "low": "low", "high": "high"}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def read(content: Mapping[str, Mapping[str, Any]], **shared: Any) -> dict[str, Claim]:
    """Claims by their names, from the fields of each as YAML has them, and those that all share."""
    claims = {}
    for name, given in content.items():
        within, kind = given.get("within", Claim.within), given.get("kind", "usual")
        typed = {"within": tuple(map(float, within)), "kind": Kind[kind.upper()]}
        claims[name] = Claim(name, **{**shared, **given, **typed})
    return claims


def first_true(condition: pd.Series | NDArray[np.bool_]) -> int:
    """The place of the first that is true; behind the end if none is."""
    known = np.flatnonzero(condition)
    return int(known[0]) if len(known) else len(condition)


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The verdicts of a study. `looks` is how many of them were judged, each at its own risk."""
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    judged = ~frame["verdict"].isin([NOT_ENOUGH, NOT_RUN])
    return frame.assign(looks=int(judged.sum()))
