"""What the slides say of where optimizers end, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from eosflow.analysis.claims import Claim, table
from eosflow.studies.optimizer_ends.table import EARLY, EQUAL_EPOCHS, RUN

FEWEST_OPTIMIZERS = 5  # for a rank correlation over them
SHARPNESS, COUNT, ACCURACY = "sharpness", "effective_parameters", "held_out_accuracy"
NAMES = {SHARPNESS: "λ₁(𝓗)", COUNT: "N_eff"}
LARGE = "Roberts, slide “So long as we have instabilities...”"
TABLES, NLP = "Roberts, Tables 3 and 4", "Roberts, Table 5"
REGULARIZATION = "Roberts, slide “Regularization”"
NOISE = "Roberts, slide “Instabilities - wobbly Hessians”"
REVISITED = "Roberts, slide “Sharpness - revisited”"


@dataclass(frozen=True)
class Comparison:
    """A statement on one method against another: their ratio in a column, or what it gains.

    Without `method` it is SGD with the largest learning rate; `against` None is that for other
    methods and SGD with the smallest for it.
    """

    claim: Claim
    method: str
    column: str
    against: str | None = None


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim, problem and pair of methods, from runs with one start.

    Methods have the same number of gradients, or of epochs if their name says so. The last two
    claims are of rank correlations over the optimizers, one number per seed.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    ends = frame[(frame["statistic"] == RUN) & (frame["stopped"] != "diverged")]
    rows: list[dict[str, object]] = []
    for problem, runs in ends.groupby("problem", sort=False):
        rates = runs[runs["method"].str.startswith("SGD, η")].groupby("method")["learning_rate"]
        small = large = ""  # of SGD there may be nothing to compare with
        if rates.ngroups:
            small, large = str(rates.first().idxmin()), str(rates.first().idxmax())
        there = set(runs["method"])
        for each in COMPARISONS:
            against = each.against or (each.method and large) or small
            for suffix in ("", EQUAL_EPOCHS) if each.method else ("",):
                method = (each.method or large) + suffix
                if not {method, against} <= there or method == against:
                    continue
                values = _compared(runs, method, against, each.column)
                settings = f"{problem}: {method} against {against}"
                rows.append(each.claim.judged(values, settings))
        rows += _correlations(str(problem), runs)
    return table(rows)


def _compared(runs: pd.DataFrame, method: str, against: str, column: str) -> pd.Series:
    """Per seed the ratio of the two, or of accuracies the difference in percentage points."""
    one, other = (
        runs[runs["method"] == name].set_index(["seed", "subset_seed"])[column]
        for name in (method, against)
    )
    return (100 * (one - other) if column == ACCURACY else one / other).dropna()


def _correlations(problem: str, runs: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Without early stopping, which is a part of another run."""
    whole = runs[runs["method"] != EARLY]
    if whole["method"].nunique() < FEWEST_OPTIMIZERS:
        return
    settings = f"{problem}: {whole['method'].nunique()} optimizers"
    for claim, column in CORRELATIONS:
        values = [
            float(part[column].corr(part[ACCURACY], method="spearman"))
            for _, part in whole.groupby(["seed", "subset_seed"])
        ]
        yield claim.judged(values, settings)


def _less(name: str, who: str, column: str, source: str = "", says: str = "") -> Claim:
    what = {SHARPNESS: "ends less sharp", COUNT: "ends with fewer large eigenvalues"}[column]
    measured = f"its {NAMES[column]} at the end over that of the other"
    return Claim(name, f"{who} {what}.", measured, source, says, below=1)


def _better(name: str, who: str, source: str = "", says: str = "") -> Claim:
    words = f"{who} gives a higher accuracy on held-out examples."
    measured = "its accuracy less that of the other, in percentage points"
    return Claim(name, words, measured, source, says, above=0)


def _correlated(name: str, column: str) -> Claim:
    words = f"Optimizers that end with a lower {NAMES[column]} classify held-out examples better."
    return Claim(name, words, "rank correlation of the two over the optimizers", below=0)


_RATE, _SAM, _TRACER = "A larger learning rate", "SAM", "SGD-TRACER"
_ADAM, _ADAM_TRACER, _QUIET = "Adam", "Adam-TRACER", "Noise along the sharpest direction"
_NOISE, _PENALTY = "noise along q₁", "curvature penalty"
COMPARISONS = (
    Comparison(_less("larger-rate-less-sharp", _RATE, SHARPNESS, LARGE, "2/η"), "", SHARPNESS),
    Comparison(_less("larger-rate-fewer", _RATE, COUNT), "", COUNT),
    Comparison(_better("larger-rate-better", _RATE, LARGE, "promotes"), "", ACCURACY),
    Comparison(
        _less("sam-less-sharp", _SAM, SHARPNESS, REVISITED, "18.6 against 62.9"), _SAM, SHARPNESS
    ),
    Comparison(_better("sam-better", _SAM, TABLES, "7.55, 0.31, 27.93; ViT 0.5"), _SAM, ACCURACY),
    Comparison(_less("tracer-less-sharp", _TRACER, SHARPNESS), _TRACER, SHARPNESS),
    Comparison(_less("tracer-fewer", _TRACER, COUNT), _TRACER, COUNT),
    Comparison(
        _better("tracer-better", _TRACER, TABLES, "12.04, 0.69, 29.66; ViT 1.4"), _TRACER, ACCURACY
    ),
    Comparison(
        _better("tracer-better-than-sam", _TRACER, TABLES, "4.49, 0.38, 1.73; ViT 0.9"),
        *(_TRACER, ACCURACY, _SAM),
    ),
    Comparison(
        _less("adam-tracer-less-sharp", _ADAM_TRACER, SHARPNESS), _ADAM_TRACER, SHARPNESS, _ADAM
    ),
    Comparison(_less("adam-tracer-fewer", _ADAM_TRACER, COUNT), _ADAM_TRACER, COUNT, _ADAM),
    Comparison(
        _better("adam-tracer-better", _ADAM_TRACER, NLP, "1.25, 0.65, 0.95"),
        *(_ADAM_TRACER, ACCURACY, _ADAM),
    ),
    Comparison(
        _better("adam-tracer-better-than-sam", _ADAM_TRACER, NLP, "1.14, 0.95, 0.59"),
        *(_ADAM_TRACER, ACCURACY, "SAM with Adam"),
    ),
    Comparison(_less("noise-less-sharp", _QUIET, SHARPNESS), _NOISE, SHARPNESS),
    Comparison(_better("noise-better", _QUIET, NOISE, "regularization"), _NOISE, ACCURACY),
    Comparison(_less("penalty-less-sharp", "A curvature penalty", SHARPNESS), _PENALTY, SHARPNESS),
    Comparison(_better("penalty-better", "A curvature penalty"), _PENALTY, ACCURACY),
    Comparison(
        _better("averaging-better", "Averaging weights", REGULARIZATION, "regularization"),
        *("weight averaging", ACCURACY),
    ),
    Comparison(
        _better("momentum-better", "Momentum", REGULARIZATION, "regularization"),
        *("momentum", ACCURACY),
    ),
    Comparison(
        _better("early-stopping-better", "Early stopping", REGULARIZATION, "regularization"),
        *(EARLY, ACCURACY),
    ),
)
CORRELATIONS = (
    (_correlated("less-sharp-is-better", SHARPNESS), SHARPNESS),
    (_correlated("fewer-is-better", COUNT), COUNT),
)
