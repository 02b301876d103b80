"""What is said of SAM's sharpness, and the verdicts on it."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import Claim, table

AT_THE_EDGE = Claim(
    "at-its-own-edge",
    "SAM is held at λ₁ = (‖g‖/2ρ)(√(1 + 8ρ/(η‖g‖)) − 1), gradient descent (ρ = 0) at 2/η.",
    "median of λ₁(𝓗) over that in the second half",
    "Long & Bartlett 2023, arXiv:2309.12488",
    "1",
    within=(0.9, 1.1),
)
LESS_SHARP = Claim(
    "less-sharp-than-descent",
    "SAM ends less sharp.",
    "λ₁(𝓗) at the end over that of gradient descent",
    "Roberts, slide “Sharpness - revisited”",
    "18.6 against 62.9, other networks",
    below=1,
)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and ρ.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last = frame["iteration"].max()
    end = frame[frame["iteration"] == last].set_index(["rho", "seed"])["sharpness"]
    rows = []
    for radius, runs in frame.groupby("rho"):
        settings = f"cheb-4, η = 0.3, ρ = {radius:g}, {last:,} steps"
        late = runs[runs["iteration"] > last / 2]
        shares = (late["sharpness"] / late["edge"]).groupby(late["seed"]).median()
        rows.append(AT_THE_EDGE.judged(shares, settings))
        if radius:
            rows.append(LESS_SHARP.judged((end.loc[radius] / end.loc[0.0]).dropna(), settings))
    return table(rows)
