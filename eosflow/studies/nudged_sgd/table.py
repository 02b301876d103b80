"""The table of Nudged-SGD, in the form of its source's tables: one row per run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from eosflow.storage.errors import UserError
from eosflow.studies.runs import StudyRun


def table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """One row per run of an optimizer that finds the top subspace.

    Raises: UserError where a run's optimizer makes no such searches.
    """
    return pd.DataFrame([_row(run) for run in runs])


def _row(run: StudyRun) -> dict[str, object]:
    optimizer = run.spec["optimizer"]
    if "eigenvalue_1" not in run.trajectory:
        raise UserError(
            f"experiments.{run.spec['experiment']}.optimizer: {optimizer['name']} computes no "
            "sharpest directions; take nudged-sgd (with gamma: 1 it is SGD), bulk-sgd or "
            "dominant-sgd, or another study."
        )
    gamma = 0.0 if optimizer["name"] == "bulk-sgd" else optimizer.get("gamma", math.nan)
    searches = run.trajectory[run.trajectory["power_iterations"] > 0]
    sharpness = searches["eigenvalue_1"]
    accuracy = run.measurement("accuracy").set_index("iteration")
    distance = run.measurement("distance").set_index("iteration")["distance"]
    names = ["loss", "accuracy", "held_out_accuracy"]
    end: dict[str, float] = dict.fromkeys([*names, "distance"], math.nan)
    if run.stopped != "diverged":
        end = {name: accuracy[name].iloc[-1] for name in names}
        end["distance"] = distance.iloc[-1]
    later = accuracy[accuracy.index > 0]
    early = (later.index[0], later["held_out_accuracy"].iloc[0]) if len(later) else (math.nan,) * 2
    return {
        **run.settings,
        "gamma": gamma,
        "steps": len(run.trajectory),
        **end,
        "early_iteration": early[0],
        "early_held_out_accuracy": early[1],
        "sharpness_start": sharpness.iloc[0],
        "sharpness_max": sharpness.max(),
        "sharpness_end": sharpness.iloc[-1],
        "residual": searches["residual"].max(),
    }
