"""The table of where optimizers end: each after as many gradients as the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eosflow.analysis.claims import NOT_RUN
from eosflow.optimizers import OPTIMIZERS
from eosflow.storage.settings import from_record
from eosflow.studies.optimizer_ends import STUDY
from eosflow.studies.runs import StudyRun, by_snapshot

RUN, MEDIAN, SOURCE = "run", "median", "source"
QUARTILES = {"lower quartile": 0.25, MEDIAN: 0.5, "upper quartile": 0.75}
EARLY = "early stopping"
USUAL = "SGD with momentum and weight decay"  # the settings that papers use
EQUAL_EPOCHS = ", equal epochs"  # of a method whose steps need more than one gradient
WORDS = {
    "sam": "SAM",
    "adam-sam": "SAM with Adam",
    "sgd-tracer": "SGD-TRACER",
    "adam-tracer": "Adam-TRACER",
    "swa": "weight averaging",
    "trace-penalty": "curvature penalty",
    "sharpest-noise": "noise along q₁",
    "adam": "Adam",
}
NUMBERS = (
    *("iteration", "gradients", "loss", "accuracy", "held_out_loss", "held_out_accuracy"),
    *("validation_loss", "validation_accuracy", "sharpness", "residual", "effective_parameters"),
    *("effective_parameters_error", "effective_parameters_relative"),
    *("effective_parameters_relative_error", "sharpness_gauss_newton", "residual_gauss_newton"),
)


def table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """One row per run, at its end, then quartiles over the seeds, then the source's own numbers.

    `statistic` tells them apart: `run`, `lower quartile`, `median`, `upper quartile`, `source`. A
    run of plain SGD that was evaluated on its way has a second row, `early stopping`: that with
    the highest accuracy on the held-out examples kept apart (`validation`), the first of equals.
    Seeds of which a run diverged are not in that method's quartiles.
    """
    steps = [_steps(run) for run in runs if _plain(run.spec["optimizer"])]
    rows = [row for run in runs for row in _rows(run, max(steps, default=0))]
    each = pd.DataFrame(rows)
    return pd.concat([each, _quartiles(each), _sources()], ignore_index=True)


def gradients(run: StudyRun, iteration: int) -> float:
    """Gradients of a batch that so many steps of a run needed, with the searches for q₁.

    A search's products are with 𝓗 over its own examples, each twice a gradient over them.
    """
    optimizer = run.spec["optimizer"]
    count: float = from_record(OPTIMIZERS, optimizer).gradients_per_step() * iteration
    if "k" in optimizer:
        taken = run.trajectory["power_iterations"].iloc[:iteration].sum()
        batches = min(optimizer["examples"], run.spec["n"]) / run.settings["batch"]
        count += 2 * (optimizer["k"] + 1) * taken * batches
    return count


def _rows(run: StudyRun, epochs: int) -> list[dict[str, Any]]:
    """The rows of a run, where plain SGD takes so many steps."""
    evaluated = by_snapshot([run]).rename(columns={"eigenvalue_1": "sharpness"})
    evaluated = evaluated.reindex(columns=list(dict.fromkeys([*evaluated, *NUMBERS])))
    if "residual_1" in evaluated:
        evaluated["residual"] = evaluated["residual_1"]
    method = _method(run.spec["optimizer"], run.settings)
    if _steps(run) == epochs and gradients(run, epochs) > epochs:
        method += EQUAL_EPOCHS
    found = [_row(run, evaluated.iloc[-1], method)]
    # Of the start and the end alone there is nothing to choose.
    known = evaluated["validation_accuracy"].notna().sum()
    if _plain(run.spec["optimizer"]) and known > 2 and run.stopped != "diverged":
        best = int(np.nanargmax(evaluated["validation_accuracy"].to_numpy(dtype=float)))
        found.append(_row(run, evaluated.iloc[best], EARLY))
    return found


def _row(run: StudyRun, row: pd.Series, method: str) -> dict[str, Any]:
    settings = run.settings
    numbers = {name: row[name] for name in NUMBERS}
    numbers["gradients"] = gradients(run, int(row["iteration"]))
    if run.stopped == "diverged":
        numbers = dict.fromkeys(NUMBERS, np.nan)
    # A record from before there was augmentation does not name it.
    changed = run.spec["batch"].get("augment", "none") != "none"
    words = (settings["dataset"], settings["network"], f"N = {settings['n']}")
    return {
        "problem": ", ".join([*words, *(["augmented"] if changed else [])]),
        "method": method,
        "statistic": RUN,
        **{name: settings[name] for name in ("experiment", "optimizer", "learning_rate", "batch")},
        **{name: settings[name] for name in ("seed", "subset_seed", "stopped")},
        "seeds": 1,
        **numbers,
        "converged": row.get("converged"),
    }


def _steps(run: StudyRun) -> int:
    return int(run.measurement("accuracy")["iteration"].max())


def _method(optimizer: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if _plain(optimizer):
        return f"SGD, η = {settings['learning_rate']:g}"
    if optimizer["name"] == "gradient-descent":
        return USUAL if optimizer.get("weight_decay") else "momentum"
    return WORDS.get(optimizer["name"], str(optimizer["name"]))


def _plain(optimizer: Mapping[str, Any]) -> bool:
    return optimizer["name"] == "gradient-descent" and not optimizer["momentum"]


def _quartiles(each: pd.DataFrame) -> pd.DataFrame:
    """Per method, the quartiles of each number over the seeds."""
    rows = []
    for (problem, method), runs in each.groupby(["problem", "method"], sort=False):
        whole = runs[runs["stopped"] != "diverged"]
        for statistic, share in QUARTILES.items():
            numbers = whole[list(NUMBERS)].astype(float).quantile(share)
            row = {"problem": problem, "method": method, "statistic": statistic}
            rows.append({**row, "seeds": len(whole), **numbers})
    return pd.DataFrame(rows)


def _sources() -> pd.DataFrame:
    """The numbers that the source prints, of cells that were not run."""
    shared = {"statistic": SOURCE, "stopped": NOT_RUN}
    return pd.DataFrame(
        {"problem": problem, "method": method, **shared}
        | {"source_accuracy": round(accuracy / 100, 6), "source_error": round(error / 100, 6)}
        for problem, methods in STUDY.words["printed"].items()
        for method, (accuracy, error) in methods.items()
    )
