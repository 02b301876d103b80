"""What is said of minibatch gradients and sharp directions, and the verdicts on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Claim, table

SCAN = "top_whole_"  # the columns of the scan along v₁, of the loss of all examples
SOURCE = "Jastrzębski et al. 2019, arXiv:1807.05031"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, network and evaluation after the start.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    later = frame[frame["iteration"] > 0]
    for settings, found in later.groupby(["network", "n", "learning_rate", "batch", "iteration"]):
        network, n, rate, batch, iteration = settings
        words = f"{network}, N = {n}: η = {rate:g}, batch {batch}, step {iteration}"
        for claim, measure in CLAIMS.items():
            rows.append(claim.judged([measure(row) for _, row in found.iterrows()], words))
    return table(rows)


def scan(row: pd.Series, prefix: str = SCAN) -> pd.Series:
    """The mean change of the loss by α, in the order of α."""
    found = {
        float(str(name).removeprefix(prefix)): row[name]
        for name in row.index
        if str(name).startswith(prefix)
    }
    return pd.Series(found).sort_index()


def _least(row: pd.Series) -> float:
    return float(str(scan(row).idxmin()))


CLAIMS: dict[Claim, Callable[[pd.Series], float]] = {
    Claim(
        "gradients-align",
        "Minibatch gradients lie in the sharpest directions far more than by chance.",
        "mean cosine with the top five over that of a random direction, √(2/πP)",
        f"{SOURCE}, Figure 5",
        "above random",
        within=(5, math.inf),
    ): lambda row: float(row["cosine"] / row["cosine_random"]),
    Claim(
        "step-crosses-minimum",
        "Along the sharpest direction the step of SGD crosses the minimum.",
        "the α at which α times the step, along v₁ alone, lowers the loss of all examples the most",
        f"{SOURCE}, Figure 1",
        "crosses",
        below=1,
    ): _least,
    Claim(
        "step-fails-to-minimize",
        "Along it the step commonly fails to lower the loss.",
        "mean change of the loss of all examples at α = 1, in ηg̃² with g̃ = g_B·v₁",
        f"{SOURCE}, abstract",
        "fails to minimize",
        within=(0, math.inf),
    ): lambda row: float(row[f"{SCAN}1"] / row["top_scale"]),
    Claim(
        "whole-step-lowers",
        "The whole step lowers the loss.",
        "mean change of the loss of all examples by a step of SGD",
        below=0,
    ): lambda row: float(row["step_whole_1"]),
    Claim(
        "minibatches-sharper",
        "λ₁ is convex, so batches are at least as sharp as all examples.",
        "mean λ₁(𝓗_B) over equal batches over λ₁(𝓗)",
        within=(1, math.inf),
    ): lambda row: float(row["minibatch_sharpness"] / row["sharpness"]),
}
