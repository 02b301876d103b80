"""Verdicts, and one inequality of a source, judged by its median over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

HOLDS, CONTRADICTED, CANNOT_TELL = "holds", "contradicted", "cannot tell"
NOT_ENOUGH = "not enough runs"
FEWEST_SEEDS = 5  # seeds scatter: medians of fewer prove nothing
COLUMNS = ["claim", "statement", "source", "measured", "seeds", "holds", "settings"]


@dataclass(frozen=True)
class Inequality:
    """A statement of a source: its words and what exactly is measured, the number it gives, and
    which numbers agree with it.
    """

    claim: str
    statement: str
    source: str
    passes: Callable[[float], bool]

    def judged(self, values: Iterable[float | None], settings: str) -> tuple[object, ...]:
        """A row of `COLUMNS`, from a number per seed; None where a seed has nothing to say."""
        known = np.array([value for value in values if value is not None], dtype=float)
        median = float(np.median(known)) if len(known) else np.nan
        verdict = NOT_ENOUGH
        if len(known) >= FEWEST_SEEDS:
            verdict = HOLDS if self.passes(median) else CONTRADICTED
        measured = f"{median:.3g}"
        return self.claim, self.statement, self.source, measured, len(known), verdict, settings


def table(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """The verdicts of a study, from what `judged` gave."""
    return pd.DataFrame(list(rows), columns=COLUMNS)
