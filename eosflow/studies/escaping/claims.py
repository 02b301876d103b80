"""What the source says of SGD without its sharpest direction, with its verdicts."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import Inequality, table
from eosflow.studies.escaping import ONLY, REMOVED, WHOLE


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study, from its table: ratios of λ₁(𝓗) at the last look of each seed.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last = frame["iteration"].max()
    ends = frame[frame["iteration"] == last].pivot(
        index="seed", columns="method", values="sharpness"
    )
    settings = f"cheb-4, learning rate {frame['learning_rate'].iloc[0]:g}, {last} steps"
    rows = [
        inequality.judged((ends[above] / ends[below]).dropna(), settings)
        for inequality, (above, below) in CLAIMS.items()
    ]
    return table(rows)


CLAIMS: dict[Inequality, tuple[str, str]] = {
    Inequality(
        "removed-is-sharper",
        "Without the sharpest direction of each step SGD gets to sharper regions. Measured: λ₁(𝓗) "
        "at the end over that of SGD.",
        "> 1",
        lambda value: value > 1,
    ): (REMOVED, WHOLE),
    Inequality(
        "only-is-flatter",
        "With that direction alone it gets to flatter ones. Measured: λ₁(𝓗) of SGD at the end over "
        "that of the sharpest direction alone.",
        "> 1",
        lambda value: value > 1,
    ): (WHOLE, ONLY),
}
