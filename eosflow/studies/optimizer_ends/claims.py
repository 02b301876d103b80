"""What the slides say of where optimizers end, with its verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from eosflow.analysis.claims import (
    CONTRADICTED,
    FEWEST_SEEDS,
    HOLDS,
    NOT_ENOUGH,
    Inequality,
    table,
)
from eosflow.studies.optimizer_ends.table import EARLY, RUN

WORDS = "(in words)"
SIGNIFICANT = 0.05
FEWEST_OPTIMIZERS = 5  # of four in perfect order the exact p is 2/4! = 0.08
SHARPNESS, COUNT, ACCURACY = "sharpness", "effective_parameters", "held_out_accuracy"
NAMES = {SHARPNESS: "λ₁(𝓗)", COUNT: "N_eff"}


@dataclass(frozen=True)
class Comparison:
    """A statement on one method against another: their ratio in a column, or what it gains.

    `against` is None for SGD with the largest learning rate. Where SGD has only one, nothing is
    said of a larger one.
    """

    words: Inequality
    method: str
    column: str
    against: str | None = None


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of where optimizers end, from its table.

    Each number is a median over the seeds of a comparison of two runs from the same start, with the
    same number of gradients. The last two rows are rank correlations over the optimizers, without
    early stopping, which is a part of another run: `measured` is the median over the seeds, and the
    verdict that of the medians' correlation, "not enough runs" where p > 0.05 or where there are
    fewer than five optimizers.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    ends = frame[(frame["statistic"] == RUN) & (frame["stopped"] != "diverged")]
    rows: list[tuple[object, ...]] = []
    for problem, runs in ends.groupby("problem", sort=False):
        rates = runs[runs["method"].str.startswith("SGD, ")].groupby("method")["learning_rate"]
        small = large = ""  # of SGD there may be nothing to compare with
        if rates.ngroups:
            small, large = str(rates.first().idxmin()), str(rates.first().idxmax())
        there = set(runs["method"])
        for each in COMPARISONS:
            method, against = each.method or large, each.against or (each.method and large) or small
            if not {method, against} <= there or method == against:
                continue
            values = _compared(runs, method, against, each.column)
            rows.append(each.words.judged(values, f"{problem}: {method} against {against}"))
        rows += _correlations(str(problem), runs)
    return table(rows)


def _compared(runs: pd.DataFrame, method: str, against: str, column: str) -> list[float]:
    """Per seed the ratio of the two, or of accuracies the difference in percentage points."""
    one, other = (
        runs[runs["method"] == name].set_index(["seed", "subset_seed"])[column]
        for name in (method, against)
    )
    found = 100 * (one - other) if column == ACCURACY else one / other
    return [float(value) for value in found.dropna()]


def _correlations(problem: str, runs: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    whole = runs[runs["method"] != EARLY]
    for words, column in CORRELATIONS:
        each = [
            float(stats.spearmanr(part[column], part[ACCURACY]).statistic)
            for _, part in whole.groupby(["seed", "subset_seed"])
        ]
        medians = whole.groupby("method")[[column, ACCURACY]].median()
        found = stats.spearmanr(medians[column], medians[ACCURACY])
        verdict = NOT_ENOUGH
        enough = len(medians) >= FEWEST_OPTIMIZERS
        if enough and len(each) >= FEWEST_SEEDS and found.pvalue <= SIGNIFICANT:
            verdict = HOLDS if found.statistic < 0 else CONTRADICTED
        # The p of so few is scipy's approximation, 0 where they are in perfect order.
        chance = f"p = {found.pvalue:.2g}" if enough else "too few for a p"
        settings = (
            f"{problem}: {len(medians)} optimizers; of their medians "
            f"{found.statistic:.2g}, {chance}"
        )
        claim, statement, source, measured, seeds, _, _ = words.judged(each, settings)
        yield claim, statement, source, measured, seeds, verdict, settings


def _less(claim: str, who: str, column: str, source: str = WORDS) -> Inequality:
    what = {SHARPNESS: "ends less sharp", COUNT: "ends with fewer large eigenvalues"}[column]
    return Inequality(
        claim,
        f"{who} {what}. Measured: its {NAMES[column]} at the end over that it is compared with.",
        source,
        lambda value: value < 1,
    )


def _better(claim: str, who: str, source: str = WORDS) -> Inequality:
    return Inequality(
        claim,
        f"{who} gives a higher accuracy on held-out examples. Measured: its accuracy less that it "
        "is compared with, in percentage points.",
        source,
        lambda value: value > 0,
    )


def _correlated(claim: str, column: str) -> Inequality:
    return Inequality(
        claim,
        f"Optimizers that end with a lower {NAMES[column]} have a higher accuracy on held-out "
        f"examples. Measured: Spearman's rank correlation of the two over the optimizers; holds "
        f"where that of the medians is below 0 at p ≤ {SIGNIFICANT:g}.",
        "< 0",
        lambda value: value < 0,
    )


def _sources(resnet: float, vit: float) -> str:
    return f"on CIFAR-100 {resnet:g}, ResNet-20 without augmentation, and {vit:g}, ViT with it"


_RATE, _SAM, _TRACER = "A larger learning rate", "SAM", "SGD-TRACER"
_ADAM, _ADAM_TRACER = "Adam", "Adam-TRACER"
COMPARISONS = (
    # No method: SGD with the largest learning rate, against that with the smallest.
    Comparison(_less("larger-rate-less-sharp", _RATE, SHARPNESS), "", SHARPNESS),
    Comparison(_less("larger-rate-fewer", _RATE, COUNT), "", COUNT),
    Comparison(_better("larger-rate-better", _RATE), "", ACCURACY),
    Comparison(
        _less("sam-less-sharp", _SAM, SHARPNESS, "0.30 = 18.6/62.9, of other networks"),
        *("SAM", SHARPNESS),
    ),
    Comparison(_better("sam-better", _SAM, _sources(7.55, 0.5)), "SAM", ACCURACY),
    Comparison(_less("tracer-less-sharp", _TRACER, SHARPNESS), _TRACER, SHARPNESS),
    Comparison(_less("tracer-fewer", _TRACER, COUNT), _TRACER, COUNT),
    Comparison(_better("tracer-better", _TRACER, _sources(12.04, 1.4)), _TRACER, ACCURACY),
    Comparison(
        _better("tracer-better-than-sam", _TRACER, _sources(4.49, 0.9)),
        *(_TRACER, ACCURACY, "SAM"),
    ),
    Comparison(
        _less("adam-tracer-less-sharp", _ADAM_TRACER, SHARPNESS), _ADAM_TRACER, SHARPNESS, _ADAM
    ),
    Comparison(_less("adam-tracer-fewer", _ADAM_TRACER, COUNT), _ADAM_TRACER, COUNT, _ADAM),
    Comparison(
        _better("adam-tracer-better", _ADAM_TRACER, "0.65 to 1.25, BERT"),
        *(_ADAM_TRACER, ACCURACY, _ADAM),
    ),
    Comparison(
        _better("adam-tracer-better-than-sam", _ADAM_TRACER, "0.59 to 1.14, BERT"),
        *(_ADAM_TRACER, ACCURACY, "SAM with Adam"),
    ),
    Comparison(
        _less("noise-less-sharp", "Noise along the sharpest direction", SHARPNESS),
        *("noise along q₁", SHARPNESS),
    ),
    Comparison(
        _better("noise-better", "Noise along the sharpest direction"), "noise along q₁", ACCURACY
    ),
    Comparison(
        _less("penalty-less-sharp", "A penalty on the curvature", SHARPNESS),
        *("curvature penalty", SHARPNESS),
    ),
    Comparison(
        _better("penalty-better", "A penalty on the curvature"), "curvature penalty", ACCURACY
    ),
    Comparison(_better("averaging-better", "Averaging weights"), "weight averaging", ACCURACY),
    Comparison(_better("momentum-better", "Momentum"), "momentum", ACCURACY),
    Comparison(_better("early-stopping-better", "Early stopping"), EARLY, ACCURACY),
)
CORRELATIONS = (
    (_correlated("less-sharp-is-better", SHARPNESS), SHARPNESS),
    (_correlated("fewer-is-better", COUNT), COUNT),
)
