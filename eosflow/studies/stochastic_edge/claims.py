"""What is said of SGD's edge, with the verdicts on it."""

from __future__ import annotations

import pandas as pd

from eosflow.analysis.claims import Claim, table

SOURCE = "Andreyev & Beneventano 2024, arXiv:2412.20553, abstract"

HELD = Claim(
    "batch-sharpness-is-held",
    "SGD holds the batch sharpness at 2/η.",
    "its mean over the last half of the steps, over 2/η",
    SOURCE,
    "2/η",
    within=(0.9, 1.1),
)
BELOW = Claim(
    "sharpness-stays-below",
    "λ₁(𝓗) of SGD stays below 2/η.",
    "its mean over the last half of the steps, over 2/η",
    SOURCE,
    "lower",
    below=1.0,
)
ORDERED = Claim(
    "smaller-batches-are-flatter",
    "The smaller the batch, the smaller λ₁(𝓗).",
    "λ₁ of the size over that of twice the size or more, the next in the table, last half",
    SOURCE,
    "suppressed by small batches",
    below=1.0,
)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim and batch size. Full batches are not SGD's: only ORDERED names them.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    last = frame["iteration"].max()
    late = frame[frame["iteration"] > last / 2]
    rate = frame["learning_rate"].iloc[0]
    means = late.groupby(["batch", "seed"])[["batch_sharpness", "sharpness"]].mean() * rate / 2
    sizes = sorted(frame["batch"].unique())
    rows = []
    for size, next_size in zip(sizes, [*sizes[1:], None], strict=True):
        if next_size is None:
            break
        here = means.loc[size]
        settings = f"batches of {size}, η = {rate:g}, steps {last // 2} to {last}"
        rows.append(HELD.judged(here["batch_sharpness"], settings))
        rows.append(BELOW.judged(here["sharpness"], settings))
        ratio = (here["sharpness"] / means.loc[next_size]["sharpness"]).dropna()
        rows.append(ORDERED.judged(ratio, f"{settings}, against {next_size}"))
    return table(rows)
