"""What the slides say of the effective number of parameters, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Claim, table

PARAMETERS = 300  # of cheb-4
GPE, REVISITED = "Roberts, slide “What about the GPE?”", "Roberts, slide “Sharpness - revisited”"
LARGE = "Roberts, slide “So long as we have instabilities...”"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    end = frame["flow_time"].max()
    low, high = frame["learning_rate"].min(), frame["learning_rate"].max()
    settings = f"cheb-4, η from {low:g} to {high:g}, flow time {end:g}"
    runs = [run for _, run in frame.groupby("seed")]
    return table(
        claim.judged([measure(run) for run in runs], settings) for claim, measure in CLAIMS.items()
    )


def _at_the_end(run: pd.DataFrame, column: str) -> float | None:
    """The quantity at the end with the largest learning rate, over that with the smallest."""
    end = run[run["flow_time"] == run["flow_time"].max()].set_index("learning_rate")[column]
    rates = run["learning_rate"]
    if not {rates.min(), rates.max()} <= set(end.index):
        return None  # one of the two diverged
    return float(end[rates.max()] / end[rates.min()])


def _changed(column: str) -> Callable[[pd.DataFrame], float]:
    """By what factor a quantity changes in other coordinates, the larger way round."""
    return lambda run: float(np.exp(np.abs(np.log(run[column]))).median())


CLAIMS: dict[Claim, Callable[[pd.DataFrame], float | None]] = {
    Claim(
        "count-is-invariant",
        "N_eff does not change under an affine reparametrization that the prior goes along with.",
        "largest relative change of N_eff",
        GPE,
        "invariant",
        within=(0, 1e-6),
    ): lambda run: float((run["turned_effective"] - 1).abs().max()),
    Claim(
        "sharpness-is-not",
        "The sharpness does.",
        "median factor by which λ₁(G) changes",
        REVISITED,
        "not invariant",
        above=1.25,
    ): _changed("turned_sharpness"),
    Claim(
        "trace-is-not",
        "So does the trace.",
        "median factor by which Tr G changes",
        REVISITED,
        "not invariant",
        above=1.25,
    ): _changed("turned_trace"),
    Claim(
        "count-of-the-hessian",
        f"The sum over the eigenvalues of 𝓗 is a count too, between 0 and P = {PARAMETERS}.",
        "share of evaluations at which it is not",
        within=(0, 0),
    ): lambda run: float((~run["of_hessian"].between(0, PARAMETERS)).mean()),
    Claim(
        "large-rates-tame-the-sharpness",
        "Large learning rates end less sharp.",
        "λ₁(𝓗) at the end with the largest η over that with the smallest",
        LARGE,
        "2/η",
        below=1,
    ): lambda run: _at_the_end(run, "sharpness"),
    Claim(
        "large-rates-tame-the-number",
        "They tame the number of large λ.",
        "N_eff with α constant, largest η over smallest",
        REVISITED,
        "tame the number",
        below=1,
    ): lambda run: _at_the_end(run, "effective"),
    Claim(
        "large-rates-tame-the-relative-number",
        "They tame it relative to the largest.",
        "N_eff with α = 0.01 λ₁(G), largest η over smallest",
        below=1,
    ): lambda run: _at_the_end(run, "effective_relative"),
}
