"""Records of runs, of any network, optimizer and batch, become tidy frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eosflow.analysis import TRANSIENT
from eosflow.results.courses import IDENTITY
from eosflow.results.manifest import changed
from eosflow.runs.names import place_of
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, read_sealed, sha256
from eosflow.studies.runs import StudyRun

VERSIONED = ("eosflow", "python", "torch", "numpy")

_RECORD_COLUMNS = [
    "parameters",
    "stopped",
    "iterations",
    "flow_time",
    "final_loss",
    "seconds",
    "block_products",
    "device",
    "threads",
    "key",
]
RUN_COLUMNS = [
    *IDENTITY,
    *_RECORD_COLUMNS,
    "dataset_title",
    "network",
    "optimizer",
    "batch",
    "target_loss",
    "rejected_steps",
    "unconverged_iterations",
    "negative_dominant_iterations",
    "negative_dominant_after_transient",
    "iterations_after_transient",
    "max_sharpness",
    "max_residual",
    *(f"version_{name}" for name in VERSIONED),
    "commit",
    "changed",
]

_LEAST_COLUMNS = [
    "flow_time",
    "loss",
    "sharpness_hessian",
    "sharpness_gauss_newton",
    "sharpness_residual",
    "smallest_eigenvalue_residual",
    "m_norm2",
    "overlap",
    "layer_norm2_1",
    "criterion_norm2",
    "activation_norm2_1",
    "activation_ratio_1",
    "alignment_product",
]
# Keys of a measured snapshot's JSON that are not measured numbers.
_OWN_KEYS = ("key", "version", "made_with")


def describe(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """Network, optimizer and batch of a run in words, from its run.json.

    Raises: ValueError where the record's key is not that of its specification.
    """
    from eosflow.runs.spec import specified

    run: Any = specified(record)
    return run.network.describe(), run.optimizer.describe(), run.batch.describe()


def _transient(record: Mapping[str, Any]) -> int:
    from eosflow.optimizers import OPTIMIZERS

    return OPTIMIZERS[record["spec"]["optimizer"]["name"]].transient


def collect(
    folders: Iterable[Path | str], undecomposed: Iterable[Path | str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read trained and decomposed run folders into two tidy frames: (decomposition, runs).

    `decomposition` has one row per snapshot: `IDENTITY`, then the keys of the decomposition's
    JSON; a column that a run's network does not have is missing there, and there is a column
    `transient` where a run's is not the usual one. `runs` has one row per run
    with `RUN_COLUMNS`, read from run.json and trajectory.parquet; what an optimizer does not
    record is 0 if it is a count and missing otherwise. Folders in `undecomposed` have no
    decomposition. Every decomposition is compared with the checksum in its index.

    Raises: UserError where a file is missing, is not what the index says, or the run is unfinished.
    """
    snapshots: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    without = set(map(Path, undecomposed))
    for folder in map(Path, folders):
        record = finished(folder)
        identity = _identity(record)
        runs.append({**identity, **_run_row(folder, record)})
        if folder not in without:
            rows = measured(folder / "decomposition")
            if (transient := _transient(record)) != TRANSIENT:
                identity["transient"] = transient
            snapshots.extend({**identity, **row} for row in rows)
    return _decomposition_frame(snapshots), pd.DataFrame(runs, columns=RUN_COLUMNS)


def collect_measurement(folders: Iterable[Path | str], place: str) -> pd.DataFrame:
    """One measurement of the runs in `folders`, one row per snapshot, in the order of the folders.

    `place` is the measurement's folder below a run's, such as `measurements/NAME`. Every file is
    compared with the checksum in its index.

    Returns: `IDENTITY`, `iteration`, `flow_time`, then the other keys of the JSON in the order of
    their names (`x_2` before `x_10`), without `key` and `version`.

    Raises: UserError as `collect`.
    """
    rows: list[dict[str, Any]] = []
    for folder in map(Path, folders):
        identity = _identity(finished(folder))
        rows.extend({**identity, **row} for row in measured(folder / place))
    first = [*IDENTITY, "iteration", "flow_time"]
    names = {name for row in rows for name in row if name not in first}
    return pd.DataFrame(rows, columns=[*first, *sorted(names, key=_natural)])


def _natural(name: str) -> list[tuple[str, int]]:
    """A key by which names sort with the numbers in them as numbers."""
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D*)(\d*)", name)]


def finished(folder: Path) -> dict[str, Any]:
    """The run.json of a finished run. Raises: UserError as `collect`."""
    path = folder / "run.json"
    record: dict[str, Any] = _read(path)
    try:
        describe(record)
        _check_end(path, record)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged: {error}. Start the workflow again: the run is made anew."
        ) from error
    if record["status"] != "finished":
        raise UserError(
            f"{folder} holds a run that is not finished (status {record['status']!r} in "
            "run.json). Start the workflow again: the run continues where it was."
        )
    return record


def _check_end(path: Path, record: Mapping[str, Any]) -> None:
    """Raise ValueError where a record without a checksum does not end as its last snapshot does."""
    snapshots = record.get("manifest", {}).get("snapshots")
    if not snapshots or record["stopped"] == "diverged" or read_sealed(path)[1]:
        return
    names = {"iterations": "iteration", "flow_time": "flow_time", "final_loss": "loss"}
    if wrong := [n for n, there in names.items() if record[n] != snapshots[-1][there]]:
        raise ValueError(f"its {', '.join(wrong)} are not those of its last snapshot")
    if record["stopped"] != record["manifest"]["stopped"]:
        raise ValueError("it tells of two ends")


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    spec = record["spec"]
    return {name: spec[name] for name in IDENTITY} | {"dataset": spec["dataset"]["name"]}


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: the run is not trained and measured, or the file was deleted. "
            "Start the workflow again, which makes what is missing."
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}). Delete it and start the workflow again."
        ) from None


def measured(folder: Path) -> list[dict[str, Any]]:
    """The numbers of each snapshot that the index in `folder` lists. Raises: as `collect`."""
    index = folder / "index.json"
    rows = []
    for entry in _read(index)["snapshots"]:
        path = folder / entry["file"]
        if not path.is_file():
            raise UserError(
                f"{index} lists {path.name}, which is missing. Delete {index} and start the "
                "workflow again: only what is missing is measured anew."
            )
        if sha256(path) != entry["sha256"]:
            raise UserError(
                f"{path} is not the file that {index} lists: it was changed or damaged since. "
                "Delete both and start the workflow again: only this snapshot is measured anew."
            )
        row = read_json(path)
        rows.append({name: value for name, value in row.items() if name not in _OWN_KEYS})
    return rows


def _run_row(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    spec, versions = record["spec"], record["versions"]
    steps = pd.read_parquet(folder / "trajectory.parquet")
    later = steps[steps["iteration"] >= _transient(record)]
    # An optimizer that never looks at the lower end of the spectrum says nothing about it.
    looked = "negative_dominant" in steps
    network, optimizer, batch = describe(record)
    return {
        **{name: record[name] for name in _RECORD_COLUMNS},
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
        "changed": _in_words(changed(record)),
    }


def _in_words(changes: Mapping[str, Any]) -> str | None:
    """What changed between a run's sittings, such as `torch: 2.12.0, 2.13.0 from iteration 300`."""
    if not changes:
        return None
    values = {name: found for name, found in changes.items() if name not in ("run", "from")}
    parts = [f"{name}: {', '.join(map(str, found))}" for name, found in values.items()]
    return f"{'; '.join(parts)} from iteration {', '.join(map(str, changes['from']))}"


def _count(steps: pd.DataFrame, column: str) -> int:
    return int(steps[column].sum()) if column in steps else 0


def _largest(steps: pd.DataFrame, column: str) -> float:
    return float(steps[column].max()) if column in steps else np.nan


def _decomposition_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    if rows:
        return pd.DataFrame(rows)
    # Without snapshots: the columns that every MLP has, for what reads the frame.
    columns = {name: pd.Series(dtype=object) for name in IDENTITY}
    columns["iteration"] = pd.Series(dtype=int)
    return pd.DataFrame(columns | {name: pd.Series(dtype=float) for name in _LEAST_COLUMNS})


def study_run(folder: Path, names: Iterable[str]) -> StudyRun:
    """The run in a folder with these measurements, each file compared with its checksum.

    Raises: UserError where a file is missing or damaged, or the run is not finished.
    """
    record = finished(folder)
    found = {name: pd.DataFrame(measured(folder / place_of(name))) for name in names}
    trajectory = pd.read_parquet(folder / record["manifest"]["trajectory"]["file"])
    return StudyRun(record["spec"], record["stopped"], trajectory, record["final_loss"], found)
