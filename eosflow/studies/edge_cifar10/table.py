"""The table of gradient descent against the flow, on runs: as that of `edge-of-stability`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.runs import StudyRun


def table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """One row per run and snapshot; `accuracy` is there where it was measured.

    A method is the flow if its optimizer has no learning rate. `loss` and `rises` are those of the
    trajectory.
    """
    return pd.concat([_rows(run) for run in runs], ignore_index=True)


def _rows(run: StudyRun) -> pd.DataFrame:
    seen = run.measurement("top-eigenvalues")
    course = run.trajectory[["iteration", "loss"]]
    end = {"iteration": len(course), "loss": run.final_loss}
    course = pd.concat([course, pd.DataFrame([end], dtype=float)], ignore_index=True)
    raised = (course["loss"].diff() > 0).cumsum()
    # The snapshot that a run leaves where it diverged is of the last row.
    row = np.minimum(seen["iteration"].to_numpy(dtype=int), len(course) - 1)
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
            "loss": course["loss"].to_numpy()[row],
            "sharpness": seen["eigenvalue_1"],
            "residual": seen["residual_1"],
            "rises": raised.to_numpy()[row],
            "stopped": run.stopped,
        }
    )
    if (accuracy := run.measured.get("accuracy")) is None:
        return rows
    more = accuracy[["iteration", "accuracy", "held_out_accuracy"]]
    return rows.merge(more, "left", on="iteration")
