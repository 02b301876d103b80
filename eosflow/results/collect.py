"""Records of runs, of any network, optimizer and batch, become tidy frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from eosflow.analysis import TRANSIENT
from eosflow.results.run_summaries import IDENTITY
from eosflow.results.sessions import changed
from eosflow.runs import whole
from eosflow.runs.records import Index, RunRecord, StepRecord
from eosflow.storage.errors import UserError
from eosflow.studies.runs import StudyRun

VERSIONED = ("eosflow", "python", "torch", "numpy")

# Described in columns.yaml, in this order.
_DESCRIBED = yaml.safe_load(Path(__file__).with_name("columns.yaml").read_text(encoding="utf-8"))
(_OF_RUNS,) = (each["columns"] for each in _DESCRIBED["files"] if each["file"] == "runs.parquet")
RUN_COLUMNS = [*IDENTITY, *_OF_RUNS]


def describe(record: RunRecord) -> tuple[str, str, str]:
    """Network, optimizer and batch of a run in words. Raises: UserError if it is not known."""
    try:
        run: Any = record.run
    except ValueError as error:
        raise UserError(f"The run {record.key} was made by another version: {error}.") from error
    return run.network.describe(), run.optimizer.describe(), run.batch.describe()


def _transient(record: RunRecord) -> int:
    from eosflow.optimizers import OPTIMIZERS

    return OPTIMIZERS[record.spec["optimizer"]["name"]].transient


def collect(folders: Iterable[Path], measurement: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read trained and decomposed run folders into two tidy frames: (decomposition, runs).

    `measurement` is the folder of the decomposition below a run's; None leaves it out.
    `decomposition` has one row per snapshot: `IDENTITY`, then the keys of the decomposition's JSON;
    a column that a run's network does not have is missing there, and there is a column `transient`
    if a run's is not the usual one. `runs` has one row per run with `RUN_COLUMNS`, read from
    run.json and trajectory.parquet; what an optimizer does not record is 0 if it is a count and
    missing otherwise.

    Raises: UserError as `verified`.
    """
    snapshots: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    folders = list(folders)
    wanted = [measurement] if measurement else []
    for folder, record in zip(folders, verified(folders, wanted), strict=True):
        identity = _identity(record)
        runs.append({**identity, **_run_row(folder, record)})
        if measurement:
            if (transient := _transient(record)) != TRANSIENT:
                identity["transient"] = transient
            snapshots.extend({**identity, **row} for row in measured(folder / measurement))
    return pd.DataFrame(snapshots), pd.DataFrame(runs, columns=RUN_COLUMNS)


def collect_measurement(folders: Iterable[Path], measurement: str) -> pd.DataFrame:
    """One measurement of the runs in `folders`, one row per snapshot, in the order of the folders.

    `measurement` is its folder below a run's.

    Returns: `IDENTITY`, `iteration`, `flow_time`, then the other keys of the JSON in the order of
    their names (`x_2` before `x_10`).

    Raises: UserError as `verified`.
    """
    rows: list[dict[str, Any]] = []
    folders = list(folders)
    for folder, record in zip(folders, verified(folders, [measurement]), strict=True):
        identity = _identity(record)
        rows.extend({**identity, **row} for row in measured(folder / measurement))
    first = [*IDENTITY, "iteration", "flow_time"]
    names = {name for row in rows for name in row if name not in first}
    return pd.DataFrame(rows, columns=[*first, *sorted(names, key=_natural)])


def _natural(name: str) -> list[tuple[str, int]]:
    """A key by which names sort with the numbers in them as numbers."""
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D*)(\d*)", name)]


def verified(folders: Iterable[Path], measurements: Sequence[str]) -> list[RunRecord]:
    """The records of finished runs, after reading every byte of what is collected of them.

    That is run.json, the manifest, the trajectory, and the `measurements`, by their folders below
    a run's.

    Raises: UserError naming all files that are missing or damaged, after moving the damaged aside.
    """
    records, damages = [], []
    for folder in folders:
        record = RunRecord.readable(folder / "run.json")
        key = record.key if record else folder.name
        manifest, wrong = whole.of_run(folder, key, deep=True, weights=False)
        if manifest is not None:
            for measurement in measurements:
                wrong += whole.of_measurement(folder / measurement, manifest, deep=True)
        damages += wrong
        if record is not None:
            records.append(record)
    for damage in damages:
        damage.set_aside()
    if damages:
        raise UserError(
            "These files are missing or damaged:\n  "
            + "\n  ".join(map(str, damages))
            + "\nStart the workflow again: what is missing is made again."
        )
    return records


def measured(folder: Path) -> list[dict[str, Any]]:
    """The numbers of each snapshot that the index in `folder` lists; see `verified`."""
    index = Index.read(folder / "index.json")
    return [StepRecord.read(folder / entry.file).numbers() for entry in index.snapshots]


def _identity(record: RunRecord) -> dict[str, Any]:
    spec = record.spec
    return {name: spec[name] for name in IDENTITY} | {"dataset": spec["dataset"]["name"]}


def _run_row(folder: Path, record: RunRecord) -> dict[str, Any]:
    spec, versions, facts = record.spec, record.versions, record.model_dump()
    steps = pd.read_parquet(folder / "trajectory.parquet")
    later = steps[steps["iteration"] >= _transient(record)]
    # An optimizer that never looks at the lower end of the spectrum says nothing about it.
    looked = "negative_dominant" in steps
    network, optimizer, batch = describe(record)
    return {
        **{name: facts[name] for name in RUN_COLUMNS if name in facts},
        "dataset_title": spec["dataset"].get("title"),
        "network": network,
        "optimizer": optimizer,
        "batch": batch,
        "target_loss": spec["target_loss"],
        "rejected_steps": _count(steps, "rejected_steps"),
        "unconverged_iterations": int((~steps["converged"]).sum()) if "converged" in steps else 0,
        "negative_dominant_iterations": _count(steps, "negative_dominant"),
        "negative_dominant_after_transient": _count(later, "negative_dominant"),
        "iterations_after_transient": len(later) if looked else 0,
        "max_sharpness": _largest(later, "eigenvalue_1"),
        "max_residual": _largest(steps, "residual"),
        **{f"version_{name}": versions[name] for name in VERSIONED},
        "commit": versions["commit"],
        "changed": changed(facts),
    }


def _count(steps: pd.DataFrame, column: str) -> int:
    return int(steps[column].sum()) if column in steps else 0


def _largest(steps: pd.DataFrame, column: str) -> float:
    return float(steps[column].max()) if column in steps else np.nan


def study_run(folder: Path, measurements: Mapping[str, str]) -> StudyRun:
    """The run in a folder with these measurements, each by the folder of its records.

    Raises: UserError as `verified`.
    """
    (record,) = verified([folder], list(measurements.values()))
    measured_by = {
        name: pd.DataFrame(measured(folder / inner)) for name, inner in measurements.items()
    }
    trajectory = pd.read_parquet(folder / "trajectory.parquet")
    return StudyRun(record.spec, record.stopped or "", trajectory, record.final_loss, measured_by)
