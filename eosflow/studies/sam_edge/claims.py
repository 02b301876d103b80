"""What is said of SAM's sharpness, with its verdicts."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import Inequality, table

AT_THE_EDGE = Inequality(
    "at-its-own-edge",
    "SAM is held at λ₁ = (‖g‖/2ρ)(√(1 + 8ρ/(η‖g‖)) − 1), gradient descent (ρ = 0) at 2/η. "
    "Measured: the median of λ₁(𝓗) over it in the second half; holds within 0.9 to 1.1.",
    "1 (Long & Bartlett)",
    lambda value: 0.9 <= value <= 1.1,
)
LESS_SHARP = Inequality(
    "less-sharp-than-descent",
    "SAM ends less sharp than SGD. Measured: λ₁(𝓗) at the end over that of gradient descent.",
    "0.30 = 18.6/62.9, of other networks",
    lambda value: value < 1,
)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of SAM's edge, from its table: medians over the seeds, per ρ.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last = frame["iteration"].max()
    end = frame[frame["iteration"] == last].set_index(["rho", "seed"])["sharpness"]
    rows = []
    for radius, runs in frame.groupby("rho"):
        settings = f"cheb-4, η = 0.3, ρ = {radius:g}, {last} steps"
        late = runs[runs["iteration"] > last / 2]
        shares = (late["sharpness"] / late["edge"]).groupby(late["seed"]).median()
        rows.append(AT_THE_EDGE.judged(shares.tolist(), settings))
        if radius:
            ratios = (end.loc[radius] / end.loc[0.0]).dropna()
            rows.append(LESS_SHARP.judged(ratios.tolist(), settings))
    return table(rows)
