"""What the slides say of where optimizers end, measured on each seed."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eosflow.studies.base import Sampled
from eosflow.studies.optimizer_ends.table import EARLY, EQUAL_EPOCHS, RUN

FEWEST_OPTIMIZERS = 5  # for a rank correlation over them
SHARPNESS, COUNT, ACCURACY = "sharpness", "effective_parameters", "held_out_accuracy"
# One method against another: their ratio in a column, or what it gains in accuracy. No method is
# SGD with the largest learning rate; no other is that for other methods, and SGD with the smallest
# for it.
COMPARISONS = {
    "larger-rate-less-sharp": ("", SHARPNESS, ""),
    "larger-rate-fewer": ("", COUNT, ""),
    "larger-rate-better": ("", ACCURACY, ""),
    "sam-less-sharp": ("SAM", SHARPNESS, ""),
    "sam-better": ("SAM", ACCURACY, ""),
    "tracer-less-sharp": ("SGD-TRACER", SHARPNESS, ""),
    "tracer-fewer": ("SGD-TRACER", COUNT, ""),
    "tracer-better": ("SGD-TRACER", ACCURACY, ""),
    "tracer-better-than-sam": ("SGD-TRACER", ACCURACY, "SAM"),
    "adam-tracer-less-sharp": ("Adam-TRACER", SHARPNESS, "Adam"),
    "adam-tracer-fewer": ("Adam-TRACER", COUNT, "Adam"),
    "adam-tracer-better": ("Adam-TRACER", ACCURACY, "Adam"),
    "adam-tracer-better-than-sam": ("Adam-TRACER", ACCURACY, "SAM with Adam"),
    "noise-less-sharp": ("noise along q₁", SHARPNESS, ""),
    "noise-better": ("noise along q₁", ACCURACY, ""),
    "penalty-less-sharp": ("curvature penalty", SHARPNESS, ""),
    "penalty-better": ("curvature penalty", ACCURACY, ""),
    "averaging-better": ("weight averaging", ACCURACY, ""),
    "momentum-better": ("momentum", ACCURACY, ""),
    "early-stopping-better": (EARLY, ACCURACY, ""),
}
CORRELATIONS = {"less-sharp-is-better": SHARPNESS, "fewer-is-better": COUNT}


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim, problem and pair of methods, from runs with one start.

    Methods have the same number of gradients, or of epochs if their name says so. The last two
    claims are of rank correlations over the optimizers, one number per seed.
    """
    ends = frame[(frame["statistic"] == RUN) & (frame["stopped"] != "diverged")]
    for problem, runs in ends.groupby("problem", sort=False):
        yield from _comparisons(str(problem), runs)
        yield from _correlations(str(problem), runs)


def _comparisons(problem: str, runs: pd.DataFrame) -> Iterator[Sampled]:
    by_method = {
        str(method): part.set_index(["seed", "subset_seed"])
        for method, part in runs.groupby("method")
    }
    rates = runs[runs["method"].str.startswith("SGD, η")].set_index("method")["learning_rate"]
    # Of SGD there may be nothing to compare with.
    small, large = map(str, (rates.idxmin(), rates.idxmax()) if len(rates) else ("", ""))
    for name, (given, column, other) in COMPARISONS.items():
        against = other or (large if given else small)
        for method in (given, given + EQUAL_EPOCHS) if given else (large,):
            if not {method, against} <= by_method.keys() or method == against:
                continue
            one, two = by_method[method][column], by_method[against][column]
            values = 100 * (one - two) if column == ACCURACY else one / two
            yield name, values, f"{problem}: {method} against {against}"


def _correlations(problem: str, runs: pd.DataFrame) -> Iterator[Sampled]:
    """Without early stopping, which is a part of another run."""
    whole = runs[runs["method"] != EARLY]
    if whole["method"].nunique() < FEWEST_OPTIMIZERS:
        return
    settings = f"{problem}: {whole['method'].nunique()} optimizers"
    for name, column in CORRELATIONS.items():
        values = [
            float(part[column].corr(part[ACCURACY], method="spearman"))
            for _, part in whole.groupby(["seed", "subset_seed"])
        ]
        yield name, values, settings
