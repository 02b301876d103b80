"""One run's folder: its record, snapshots, checkpoint and manifest, each whole or absent."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError
from torch import Tensor

from eosflow.runs import whole
from eosflow.runs.names import step_name
from eosflow.runs.records import Manifest, Progress, RunRecord, Sitting, Snapshot
from eosflow.runs.spec import RunSpec
from eosflow.storage.files import readable, replacing, set_aside, write_json
from eosflow.storage.records import Listed, Record
from eosflow.storage.tensors import DamagedFile, load_tensors, save_tensors

log = logging.getLogger(__name__)

CHECKPOINT, PROGRESS = "checkpoint.safetensors", "progress.json"


class Checkpoint(Record):
    """What a checkpoint holds beside its tensors; `iteration` is the step to be taken next."""

    trajectory_key: str
    iteration: int
    flow_time: float
    seconds: float
    snapshots: Annotated[tuple[Snapshot, ...], Field(min_length=1)]
    data: dict[str, str]
    sittings: Annotated[tuple[Sitting, ...], Field(min_length=1)]
    optimizer: dict[str, Any]
    batch: dict[str, Any]


class RunFolder:
    """Reads and writes the files of one run (paths as in docs/workflow.md)."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self.path = path
        self.spec = spec

    def finished(self) -> Manifest | None:
        """The manifest of the finished run if every byte of it and all snapshots are there.

        Files that are damaged are moved aside. A manifest is made again of run.json.
        """
        record, path = self.record(), self.path / "manifest.json"
        known = record.manifest if record and record.key == self.spec.key else None
        if known and readable(path) != known:
            set_aside(path, "record")
            write_json(path, known)
        manifest, damages = whole.of_run(self.path, self.spec.key, deep=True)
        for damage in damages:
            damage.set_aside()
        if damages or whole.deleted(self.path):
            return None
        return manifest

    def record(self) -> RunRecord | None:
        """run.json, or None."""
        return RunRecord.readable(self.path / "run.json")

    def save_snapshot(
        self, tensors: Mapping[str, Tensor], iteration: int, flow_time: float, loss: float
    ) -> Snapshot:
        """Write one weight snapshot; returns its entry for the manifest."""
        facts = {"iteration": iteration, "flow_time": flow_time, "loss": loss}
        name = f"snapshots/{step_name(iteration)}.safetensors"
        save_tensors(self.path / name, tensors, {**facts, "key": self.spec.trajectory_key})
        return Snapshot.of(self.path, name, **facts)

    def save_progress(
        self, iteration: int, loss: float, sharpness: float | None, seconds_left: float
    ) -> None:
        """Note how far the run is, for `eosflow status`."""
        values = {"loss": loss, "sharpness": sharpness, "seconds_left": seconds_left}
        known = {n: v if v is not None and math.isfinite(v) else None for n, v in values.items()}
        Progress(iteration=iteration, **known).write(self.path / PROGRESS)

    def save_checkpoint(self, tensors: Mapping[str, Tensor], metadata: Checkpoint) -> None:
        """Write the checkpoint over the last one."""
        save_tensors(self.path / CHECKPOINT, tensors, metadata.model_dump(mode="json"))

    def load_checkpoint(self) -> tuple[dict[str, Tensor], Checkpoint] | None:
        """The checkpoint, or None if there is none that this run can continue from.

        A run that differs only in where it ends, and was cut off, lends its own.
        """
        checkpoint = self._load(self.path)
        if checkpoint or (self.path / CHECKPOINT).exists():
            return checkpoint
        for other in sorted(self.path.parent.glob(f"*/{CHECKPOINT}")):
            record = RunRecord.readable(other.with_name("run.json"))
            if record is None or record.trajectory_key != self.spec.trajectory_key:
                continue
            if record.stopped == "max_iterations" and (checkpoint := self._load(other.parent)):
                log.info("%s continues from the end of %s", self.spec.folder, other.parent)
                for entry in checkpoint[1].snapshots:
                    with replacing(self.path / entry.file) as temporary:
                        shutil.copyfile(other.parent / entry.file, temporary)
                return checkpoint
        return None

    def _load(self, folder: Path) -> tuple[dict[str, Tensor], Checkpoint] | None:
        path = folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            tensors, metadata = load_tensors(path)
            checkpoint = Checkpoint.model_validate(metadata)
        except (DamagedFile, ValidationError) as error:
            log.warning("%s: the run starts from the beginning", error)
            set_aside(path, "checksum")
            return None
        if (
            checkpoint.trajectory_key != self.spec.trajectory_key
            or checkpoint.iteration > self.spec.stop.max_iterations
        ):
            return None
        damages = list(whole.of_files(folder, checkpoint.snapshots, deep=True))
        for damage in damages:
            log.warning("%s: the run starts from the beginning", damage)
            damage.set_aside()
        return None if damages else (tensors, checkpoint)

    def remove_checkpoint(self) -> None:
        """Forget the checkpoint, which a finished run no longer needs."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def save_trajectory(self, kinds: Mapping[str, str], rows: list[list[float]]) -> Listed:
        """Write trajectory.parquet; returns its entry for the manifest.

        `kinds` gives each column's NumPy type, in the order of the rows' numbers.
        """
        table = np.array(rows, dtype=np.float64).reshape(-1, len(kinds))
        arrays = {name: table[:, i].astype(kind) for i, (name, kind) in enumerate(kinds.items())}
        with replacing(self.path / "trajectory.parquet") as temporary:
            pq.write_table(pa.table(arrays), temporary)
        return Listed.of(self.path, "trajectory.parquet")
