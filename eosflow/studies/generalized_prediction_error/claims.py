"""What is said of prediction error, evidence and noise on the weights, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Claim, table

RIDGE = 0.1  # at which the error at new inputs is judged
SCALE = 0.01  # of the noise on the weights


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    parts = {part: [run for _, run in rows.groupby("seed")] for part, rows in frame.groupby("part")}
    return table(
        claim.judged([measure(run) for run in parts.get(part, [])], settings)
        for claim, (part, settings, measure) in CLAIMS.items()
    )


def _gap(run: pd.DataFrame) -> float:
    return float((run["gap"] / run["expected"]).mean())


def _elsewhere(run: pd.DataFrame) -> float:
    row = run[run["alpha"] == RIDGE].iloc[0]
    return float(row["gap_elsewhere"] / row["expected"])


def _margins(run: pd.DataFrame) -> pd.Series[float]:
    """By how much the log evidence of the model the data come from is above the best other."""
    wide = run.pivot(index="truth", columns="degree", values="log_evidence")
    own = pd.Series({truth: wide.loc[truth, truth] for truth in wide.index})
    others = pd.Series({truth: wide.loc[truth].drop(truth).max() for truth in wide.index})
    return (own - others).sort_index()


def _added(kind: str) -> Callable[[pd.DataFrame], float]:
    def measure(run: pd.DataFrame) -> float:
        row = run[(run["noise"] == kind) & (run["scale"] == SCALE)].iloc[0]
        return float(row["added"] / row["predicted"])

    return measure


_RIDGE = "ridge regression, 40 examples, 20 features"
_MODELS = "polynomials of degree 1, 3, 9"
_NOISE = f"cheb-4 after 1,600 steps at η = 0.3, s = {SCALE:g}"
CLAIMS: dict[Claim, tuple[str, str, Callable[[pd.DataFrame], float]]] = {
    Claim(
        "prediction-error",
        "E_test = E_train + 2σ²p_eff/n at the same inputs.",
        "E_test − E_train over 2σ²p_eff/n, mean over five α, 4,000 draws",
        "Moody 1991, Advances in Neural Information Processing Systems 4",
        "1",
        within=(0.95, 1.05),
    ): ("ridge", _RIDGE, _gap),
    Claim(
        "prediction-error-elsewhere",
        "At new inputs the error is larger than that formula, which is not made for them.",
        f"E_test − E_train over 2σ²p_eff/n at α = {RIDGE:g}",
        above=1,
    ): ("ridge", _RIDGE, _elsewhere),
    Claim(
        "middle-model-wins",
        "On data of the middle model it has more evidence than the simpler and the more complex.",
        "log evidence above the better of the two",
        "MacKay 1992, thesis, Figure 10.1",
        "greater",
        above=0,
    ): ("evidence", _MODELS, lambda run: float(_margins(run).iloc[1])),
    Claim(
        "each-model-wins-on-its-own",
        "Each of the three has the most evidence on its own data.",
        "smallest of the three margins of the log evidence",
        above=0,
    ): ("evidence", _MODELS, lambda run: float(_margins(run).min())),
    Claim(
        "noise-on-all-weights",
        "Noise of variance s² on the weights adds ½ s² Tr 𝓗 to the loss.",
        "what it adds over that",
        within=(0.9, 1.1),
    ): ("noise", _NOISE, _added("all weights")),
    Claim(
        "noise-along-the-sharpest",
        "Noise along the sharpest direction adds ½ s² λ₁.",
        "what it adds over that",
        within=(0.9, 1.1),
    ): ("noise", _NOISE, _added("along q₁")),
}
