"""What the slides say of prediction error, evidence and noise on the weights, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Inequality, table

RIDGE = 0.1  # at which the error at new inputs is judged
SCALE = 0.01  # of the noise on the weights


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of the generalized prediction error: medians over the seeds.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    parts = {part: [run for _, run in rows.groupby("seed")] for part, rows in frame.groupby("part")}
    return table(
        inequality.judged([measure(run) for run in parts.get(part, [])], settings)
        for inequality, (part, settings, measure) in CLAIMS.items()
    )


def _furthest(run: pd.DataFrame) -> float:
    return float(((run["gap"] - run["expected"]).abs() / run["gap_error"]).max())


def _elsewhere(run: pd.DataFrame) -> float:
    row = run[run["alpha"] == RIDGE].iloc[0]
    return float(row["gap_elsewhere"]) / float(row["expected"])


def _margins(run: pd.DataFrame) -> pd.Series[float]:
    """By how much the log evidence of the model the data come from is above the best other."""
    wide = run.pivot(index="truth", columns="degree", values="log_evidence")
    own = pd.Series({truth: wide.loc[truth, truth] for truth in wide.index})
    others = pd.Series({truth: wide.loc[truth].drop(truth).max() for truth in wide.index})
    return own - others


def _added(kind: str) -> Callable[[pd.DataFrame], float]:
    def measure(run: pd.DataFrame) -> float:
        row = run[(run["noise"] == kind) & (run["scale"] == SCALE)].iloc[0]
        return float(abs(row["added"] - row["predicted"]) / row["added_error"])

    return measure


_RIDGE = "ridge regression, 40 examples, 20 features"
_NOISE = f"cheb-4 after 1,600 steps at η = 0.3, s = {SCALE:g}"
CLAIMS: dict[Inequality, tuple[str, str, Callable[[pd.DataFrame], float]]] = {
    Inequality(
        "prediction-error",
        "E_test = E_train + 2σ²p_eff/n. Measured: the largest distance over five α, in standard "
        "errors over 4,000 draws; holds up to 3.",
        "0",
        lambda value: value <= 3,
    ): ("ridge", _RIDGE, _furthest),
    Inequality(
        "prediction-error-elsewhere",
        "The same at new inputs, for which it is not made. Measured: E_test − E_train over "
        f"2σ²p_eff/n at α = {RIDGE:g}; holds within 0.8 to 1.25.",
        "1",
        lambda value: 0.8 <= value <= 1.25,
    ): ("ridge", _RIDGE, _elsewhere),
    Inequality(
        "middle-model-wins",
        "On data of the middle model its evidence is greater than that of the simpler and of the "
        "more complex one. Measured: log evidence above the better of the two.",
        "> 0",
        lambda value: value > 0,
    ): (
        "evidence",
        "polynomials of degree 1, 3, 9",
        lambda run: float(_margins(run).sort_index().iloc[1]),
    ),
    Inequality(
        "each-model-wins-on-its-own",
        "The same of each of the three on its own data. Measured: the smallest of the three.",
        "> 0",
        lambda value: value > 0,
    ): ("evidence", "polynomials of degree 1, 3, 9", lambda run: float(_margins(run).min())),
    Inequality(
        "noise-on-all-weights",
        "Noise of variance s² on the weights adds ½ s² Tr 𝓗. Measured: the distance in standard "
        "errors; holds up to 3.",
        "0",
        lambda value: value <= 3,
    ): ("noise", _NOISE, _added("all weights")),
    Inequality(
        "noise-along-the-sharpest",
        "Noise along the sharpest direction adds ½ s² λ₁. Measured: the same.",
        "0",
        lambda value: value <= 3,
    ): ("noise", _NOISE, _added("along q₁")),
}
