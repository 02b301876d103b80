"""What the source's code asks of SGD without its sharpest direction, and the verdicts on it."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.escaping import ONLY, REMOVED, WHOLE

CODE = "Jastrzębski et al. 2019, github.com/kudkudak/dnn_sharpest_directions"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and start: paired ratios of λ₁(𝓗) at the end.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last, rate = frame["iteration"].max(), frame["learning_rate"].iloc[0]
    rows = []
    for start, runs in frame[frame["iteration"] == last].groupby("start", sort=False):
        ends = runs.pivot(index="seed", columns="method", values="sharpness")
        settings = f"cheb-4, η = {rate:g}, {last} steps from the {start}"
        for claim, (above, below) in CLAIMS.items():
            rows.append(claim.judged((ends[above] / ends[below]).dropna(), settings))
    return table(rows)


CLAIMS: dict[Claim, tuple[str, str]] = {
    Claim(
        "removed-is-sharper",
        "Without the sharpest direction of each step SGD gets to sharper regions.",
        "λ₁(𝓗) at the end over that of SGD",
        CODE,
        "sharper",
        above=1,
    ): (REMOVED, WHOLE),
    Claim(
        "only-is-flatter",
        "With that direction alone it gets to flatter ones.",
        "λ₁(𝓗) at the end over that of SGD",
        CODE,
        "flatter",
        below=1,
    ): (ONLY, WHOLE),
}
