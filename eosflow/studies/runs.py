"""The runs of a study as they were trained and measured, for the functions that make its table."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eosflow.storage.errors import UserError


@dataclass(frozen=True)
class StudyRun:
    """One finished run of a study.

    `spec` is its specification as in run.json and `stopped` how it ended: `target_loss`,
    `max_iterations` or `diverged`. `trajectory` has one row per step, and `final_loss` is 𝓛 after
    the last, missing for a run that diverged. `measured` has, by the name of each measurement, one
    row per measured snapshot with `iteration` and `flow_time`.
    """

    spec: Mapping[str, Any]
    stopped: str
    trajectory: pd.DataFrame
    final_loss: float | None
    measured: Mapping[str, pd.DataFrame]

    @property
    def seed(self) -> int:
        """The seed of the initialisation, and of the batches."""
        return int(self.spec["init_seed"])

    @property
    def settings(self) -> dict[str, Any]:
        """The columns that tell runs apart, which every table begins with.

        `learning_rate` is that of the configuration, missing for a flow; `batch` is N where every
        step sees all examples.
        """
        optimizer, batch = self.spec["optimizer"], self.spec["batch"]
        return {
            "experiment": self.spec["experiment"],
            "dataset": self.spec["dataset"]["name"],
            "network": self.spec["network"]["name"],
            "optimizer": optimizer["name"],
            "learning_rate": optimizer.get("learning_rate"),
            "batch": batch.get("size", self.spec["n"]),
            "n": self.spec["n"],
            "seed": self.seed,
            "subset_seed": self.spec["subset_seed"],
            "stopped": self.stopped,
        }

    def measurement(self, name: str) -> pd.DataFrame:
        """What a measurement found. Raises: UserError where the run was not measured by it."""
        if name not in self.measured:
            place = f"experiments.{self.spec['experiment']}.measure"
            raise UserError(f"{place}: {name} is missing, which the table of its study needs.")
        return self.measured[name]


def by_snapshot(runs: Iterable[StudyRun]) -> pd.DataFrame:
    """One row per run and measured snapshot: `settings`, then all that was measured there.

    Of two measurements with a column of one name the first has it, but `converged` is whether both
    have. A measured column with the name of one of `settings`, such as the learning rate of a scan,
    ends in `_measured`. A snapshot that one measurement has and another has not keeps its row; a
    run without any, such as one that diverged at once, has one row that says how it ended.
    """
    frames = []
    for run in runs:
        found = [frame for frame in run.measured.values() if not frame.empty]
        rows = functools.reduce(_merged, found) if found else pd.DataFrame([{"iteration": 0}])
        taken = {name: f"{name}_measured" for name in run.settings}
        rows = rows.rename(columns=taken).sort_values("iteration")
        frames.append(pd.DataFrame([run.settings] * len(rows), index=rows.index).join(rows))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _merged(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    own = ["iteration", "flow_time"]
    new = [name for name in frame if name not in rows or name in own]
    merged = rows.merge(frame[new], "outer", on=own)
    if "converged" in rows and "converged" in frame:
        other = merged["iteration"].map(frame.set_index("iteration")["converged"])
        merged["converged"] = merged["converged"].ne(False) & other.ne(False)
    return merged
