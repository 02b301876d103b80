"""What the source says of minibatch gradients and sharp directions, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Inequality, table

SCAN = "top_whole_"  # the columns of the scan along v₁, of the loss of all examples
WELL_ABOVE = 5.0


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of minibatches, from its table, per network and look.

    `measured` is the median over the seeds. The start, which no step has shaped, is left out.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = []
    later = frame[frame["iteration"] > 0]
    for settings, looks in later.groupby(["network", "n", "learning_rate", "batch", "iteration"]):
        network, n, rate, batch, iteration = settings
        words = f"{network}, N = {n}: learning rate {rate:g}, batch {batch}, step {iteration}"
        for claim, measure in CLAIMS.items():
            rows.append(claim.judged([measure(look) for _, look in looks.iterrows()], words))
    return table(rows)


def scan(look: pd.Series, prefix: str = SCAN) -> pd.Series:
    """The mean change of the loss by α, in the order of α."""
    found = {
        float(str(name).removeprefix(prefix)): look[name]
        for name in look.index
        if str(name).startswith(prefix)
    }
    return pd.Series(found).sort_index()


def _least(look: pd.Series) -> float:
    return float(str(scan(look).idxmin()))


CLAIMS: dict[Inequality, Callable[[pd.Series], float]] = {
    Inequality(
        "gradients-align",
        "Minibatch gradients lie in the sharpest directions far more than by chance. Measured: "
        "their mean cosine with the top five over that of a random direction, √(2/πP); holds from "
        f"{WELL_ABOVE:g} on.",
        "well above 1",
        lambda value: value >= WELL_ABOVE,
    ): lambda look: float(look["cosine"] / look["cosine_random"]),
    Inequality(
        "step-crosses-minimum",
        "Along the sharpest direction the step of SGD goes beyond the minimum. Measured: the α "
        "among those scanned at which α times the step, along v₁ alone, lowers the loss of all "
        "examples the most.",
        "< 1",
        lambda value: value < 1,
    ): _least,
    Inequality(
        "step-fails-to-minimize",
        "Along it the step commonly does not lower the loss. Measured: the mean change of the loss "
        "of all examples at α = 1, in ηg̃² with g̃ = g_B·v₁.",
        ">= 0",
        lambda value: value >= 0,
    ): lambda look: float(look[f"{SCAN}1"] / look["top_scale"]),
    Inequality(
        "whole-step-lowers",
        "The whole step lowers the loss. Measured: the mean change of the loss of all examples by "
        "a step of SGD.",
        "< 0 (not said there)",
        lambda value: value < 0,
    ): lambda look: float(look["step_whole_1"]),
    Inequality(
        "minibatches-sharper",
        "λ₁ is convex, so the mean of λ₁(𝓗_B) over equal batches is at least λ₁(𝓗) of all "
        "examples. Measured: the mean over it; exact but for the residuals.",
        ">= 1",
        lambda value: value >= 1,
    ): lambda look: float(look["minibatch_sharpness"] / look["sharpness"]),
}
