"""What the slides say of the spectrum and of instabilities, measured on each seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from eosflow.studies.base import DESCENT, FLOW, Sampled
from eosflow.studies.spectral_density import SMALL_STEPS

BEFORE = "its start"
# Of descent after the instability: the column, and what it is compared with.
OF_THE_INSTABILITY = {
    "less-sharp": ("largest", BEFORE),
    "less-sharp-than-the-flow": ("largest", FLOW),
    "better": ("loss", BEFORE),
    "better-than-small-steps": ("loss", SMALL_STEPS),
    "better-than-the-flow": ("loss", FLOW),
}


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim, and per matrix and phase if it is about a spectrum."""
    numbers = frame[frame["kind"] == "numbers"]
    for (matrix, phase), found in numbers.groupby(["matrix", "phase"], sort=False):
        settings = f"cheb-4, {'𝓗' if matrix == 'hessian' else 'G'}, {phase} the instability"
        off = (found["trace"] - found["trace_exact"]).abs() / found["trace_error"]
        moment = found["second_moment_over_law"].fillna(math.inf)
        yield "bulk-follows-the-law", moment, settings
        yield "quadrature", off, settings
    ends = frame[frame["kind"] == "ends"]
    start = numbers[(numbers["matrix"] == "hessian") & (numbers["phase"] == "before")]
    for name, (column, against) in OF_THE_INSTABILITY.items():
        by_method = ends.pivot(index="seed", columns="method", values=column)
        by_method[BEFORE] = start.set_index("seed")[column]
        settings = f"cheb-4, η = 0.4, gradient descent after an instability against {against}"
        yield name, by_method[DESCENT] / by_method[against], settings
