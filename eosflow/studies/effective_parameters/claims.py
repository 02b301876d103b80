"""What the slides say of the effective number of parameters, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Inequality, table

PARAMETERS = 300  # of cheb-4


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of effective parameters, from its table: medians over the seeds.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    end = frame["flow_time"].max()
    low, high = frame["learning_rate"].min(), frame["learning_rate"].max()
    settings = f"cheb-4, learning rates {low:g} to {high:g}, flow time {end:g}"
    runs = [run for _, run in frame.groupby("seed")]
    return table(
        inequality.judged([measure(run) for run in runs], settings)
        for inequality, measure in CLAIMS.items()
    )


def _at_the_end(run: pd.DataFrame, column: str) -> float | None:
    """The quantity at the end with the largest learning rate, over that with the smallest."""
    end = run[run["flow_time"] == run["flow_time"].max()].set_index("learning_rate")[column]
    rates = run["learning_rate"]
    if not {rates.min(), rates.max()} <= set(end.index):
        return None  # one of the two diverged
    return float(end[rates.max()] / end[rates.min()])


CLAIMS: dict[Inequality, Callable[[pd.DataFrame], float | None]] = {
    Inequality(
        "count-is-invariant",
        "N_eff is invariant under (affine) reparametrisation, the prior going along. Measured: the "
        "largest relative change of N_eff; holds up to 1e-6.",
        "invariant",
        lambda value: value <= 1e-6,
    ): lambda run: float((run["turned_effective"] - 1).abs().max()),
    Inequality(
        "sharpness-is-not",
        "Flatness measures are not invariant. Measured: the median of λ₁(G) in other coordinates "
        "over λ₁(G); holds outside 0.8 to 1.25.",
        "not invariant",
        lambda value: not 0.8 <= value <= 1.25,
    ): lambda run: float(run["turned_sharpness"].median()),
    Inequality(
        "trace-is-not",
        "The same of Tr G.",
        "not invariant",
        lambda value: not 0.8 <= value <= 1.25,
    ): lambda run: float(run["turned_trace"].median()),
    Inequality(
        "count-of-the-hessian",
        f"N_eff can be summed over the eigenvalues of 𝓗: it lies between 0 and P = {PARAMETERS}. "
        "Measured: the share of looks at which it does not.",
        "0",
        lambda value: value == 0,
    ): lambda run: float((~run["of_hessian"].between(0, PARAMETERS)).mean()),
    Inequality(
        "large-rates-tame-the-sharpness",
        "Large learning rates end at a lower sharpness. Measured: λ₁(𝓗) at the end with the "
        "largest over that with the smallest.",
        "< 1",
        lambda value: value < 1,
    ): lambda run: _at_the_end(run, "sharpness"),
    Inequality(
        "large-rates-tame-the-number",
        "They tame the number of large λ. Measured: the same of N_eff with α constant.",
        "< 1",
        lambda value: value < 1,
    ): lambda run: _at_the_end(run, "effective"),
    Inequality(
        "large-rates-tame-the-relative-number",
        "Measured: the same of N_eff with α = 0.01 λ₁(G).",
        "< 1",
        lambda value: value < 1,
    ): lambda run: _at_the_end(run, "effective_relative"),
}
