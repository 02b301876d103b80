"""What the slides say of the spectrum and of instabilities, and the verdicts on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.spectral_density import SMALL_STEPS

INSTABILITIES = "Roberts, slide “Instabilities”"
WISHART = "Roberts, slide “Sharpness”"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, and per matrix and phase if it is about a spectrum.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    numbers = frame[frame["kind"] == "numbers"]
    for (matrix, phase), found in numbers.groupby(["matrix", "phase"], sort=False):
        settings = f"cheb-4, {'𝓗' if matrix == 'hessian' else 'G'}, {phase} the instability"
        for claim, measure in OF_THE_SPECTRUM.items():
            rows.append(claim.judged(measure(found), settings))
    ends = frame[frame["kind"] == "ends"]
    start = numbers[(numbers["matrix"] == "hessian") & (numbers["phase"] == "before")]
    for claim, (column, against) in OF_THE_INSTABILITY.items():
        by_method = ends.pivot(index="seed", columns="method", values=column)
        by_method[BEFORE] = start.set_index("seed")[column]
        settings = f"cheb-4, η = 0.4, gradient descent after an instability against {against}"
        rows.append(claim.judged((by_method[DESCENT] / by_method[against]).dropna(), settings))
    return table(rows)


BEFORE = "its start"
OF_THE_SPECTRUM: dict[Claim, Callable[[pd.DataFrame], pd.Series[float]]] = {
    Claim(
        "bulk-follows-the-law",
        "Apart from outliers the eigenvalues follow the Marchenko–Pastur law.",
        "mean squared eigenvalue up to the law's edge over that of the law, ∞ if no law has the "
        "mean of the bulk",
        WISHART,
        "Marchenko–Pastur",
        within=(0.8, 1.25),
    ): lambda found: found["second_moment_over_law"].fillna(math.inf),
    Claim(
        "quadrature",
        "Lanczos quadrature gives the trace.",
        "its distance from the trace in standard errors",
        within=(0, 3),
    ): lambda found: (found["trace"] - found["trace_exact"]).abs() / found["trace_error"],
}
_SHARPER, _LOWER = "λ₁(𝓗) over that of", "loss over that of"
OF_THE_INSTABILITY: dict[Claim, tuple[str, str]] = {
    Claim(
        "less-sharp",
        "An instability leads to a less sharp solution.",
        f"{_SHARPER} {BEFORE}",
        INSTABILITIES,
        "less-sharp",
        below=1,
    ): ("largest", BEFORE),
    Claim(
        "less-sharp-than-the-flow",
        "It is less sharp than the flow is after the same flow time.",
        f"{_SHARPER} the flow",
        below=1,
    ): ("largest", FLOW),
    Claim(
        "better",
        "The loss is lower than at its start.",
        f"{_LOWER} {BEFORE}",
        below=1,
    ): ("loss", BEFORE),
    Claim(
        "better-than-small-steps",
        "The instability leads to improved performance.",
        f"{_LOWER} small steps from the same start over the same flow time",
        INSTABILITIES,
        "improved performance",
        below=1,
    ): ("loss", SMALL_STEPS),
    Claim(
        "better-than-the-flow",
        "It is better than the flow over the same flow time.",
        f"{_LOWER} the flow",
        INSTABILITIES,
        "improved performance",
        below=1,
    ): ("loss", FLOW),
}
