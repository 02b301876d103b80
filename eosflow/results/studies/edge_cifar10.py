"""The table of gradient descent against the flow, on runs: as that of `edge-of-stability`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eosflow.results.studies.runs import StudyRun
from eosflow.runs.studies import FLOW

DESCENT = "gradient descent"


def table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """One row per run and snapshot measured by `top-eigenvalues`.

    `method` is the flow for any optimizer without a learning rate. `sharpness` is λ₁(𝓗),
    `residual` the relative residual of its search; `loss` and `rises`, the steps so far that raised
    it, are those of the trajectory. `held_out_accuracy` and `accuracy` are there where they were
    measured. A run that diverged has its rows up to there, and `stopped` says so.
    """
    return pd.concat([_rows(run) for run in runs], ignore_index=True)


def _rows(run: StudyRun) -> pd.DataFrame:
    seen = run.measured["top-eigenvalues"]
    iterations, losses = run.trajectory["iteration"], run.trajectory["loss"]
    raised = (losses.diff() > 0).cumsum().to_numpy()
    # The last snapshot is of an iteration from which no step was taken.
    place = np.minimum(np.searchsorted(iterations, seen["iteration"]), len(iterations) - 1)
    settings = run.settings
    descent = settings["learning_rate"] is not None
    rows = pd.DataFrame(
        {
            "problem": f"{settings['dataset']}, N = {settings['n']}",
            "seed": run.seed,
            "method": DESCENT if descent else FLOW,
            "learning_rate": settings["learning_rate"],
            "iteration": seen["iteration"],
            "flow_time": seen["flow_time"],
            "loss": losses.to_numpy()[place],
            "sharpness": seen["eigenvalue_1"],
            "residual": seen["residual_1"],
            "rises": raised[place],
            "stopped": run.stopped,
        }
    )
    accuracy = run.measured.get("accuracy")
    if accuracy is None:
        return rows
    more = accuracy[["iteration", "accuracy", "held_out_accuracy"]]
    return rows.merge(more, "left", on="iteration")
