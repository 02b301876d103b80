"""One run's folder: its record, snapshots, checkpoint and manifest, each whole or absent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from eosflow.runs.names import step_name
from eosflow.runs.spec import RunSpec, specified
from eosflow.storage.files import read_json, read_sealed, replacing, sha256, write_json
from eosflow.storage.tensors import DamagedFile, load_tensors, save_tensors

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"


class RunFolder:
    """Reads and writes the files of one run (paths as in docs/workflow.md)."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self.path = path
        self.spec = spec

    def read_record(self) -> dict[str, Any] | None:
        """run.json, or None where there is none or it cannot be believed."""
        try:
            record = read_json(self.path / "run.json")
            if record.get("key") == self.spec.key:
                specified(record)
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("%s/run.json is damaged and will be made again: %s", self.path, error)
            return None
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        """Write run.json."""
        write_json(self.path / "run.json", record)

    def set_aside_other(self) -> Path | None:
        """Rename the folder if this run would write over another; returns where it went.

        Another is one of another trajectory, and one that finished on the same with another
        target loss or limit, unless this run goes on from its end.
        """
        record = self.read_record()
        if record is None or record["key"] == self.spec.key:
            return None
        same = record["trajectory_key"] == self.spec.trajectory_key
        if same and (record["status"] != "finished" or self.load_checkpoint() is not None):
            return None
        stem = f"{self.path.name}.before-{self.spec.key[:8]}"
        aside = self.path.with_name(stem)
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_name(f"{stem}-{number}")
        self.path.rename(aside)
        self.path.mkdir()
        log.warning("%s", self._explain_other(record, aside))
        return aside

    def _explain_other(self, record: dict[str, Any], aside: Path) -> str:
        try:
            other = RunSpec.from_record(record["spec"])
            knobs = "; ".join(self.spec.differences(other)) or "an older training version"
        except (KeyError, TypeError, ValueError):
            knobs = "an older form of specification"
        return (
            f"{self.path} held a run of another specification ({knobs}). It was kept as {aside}; "
            "delete that folder if you do not need it."
        )

    def finished(self) -> dict[str, Any] | None:
        """The manifest of a finished run of this very specification whose files are all intact."""
        record = self.read_record()
        if record is None or record["status"] != "finished" or record["key"] != self.spec.key:
            return None
        manifest: dict[str, Any] = record["manifest"]
        damaged = self.damaged([manifest["trajectory"], *manifest["snapshots"]])
        for name in damaged:
            log.warning("%s/%s is missing or damaged: the run is made again", self.path, name)
        return None if damaged or not self._vouched(manifest) else manifest

    def _vouched(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the manifest in run.json may stand for the file beside it.

        By the record's checksum or, in a record from before there were any, by that file itself or
        by what the snapshots say of themselves under checksums of their own.
        """
        if read_sealed(self.path / "run.json")[1]:
            return True
        try:
            if read_json(self.path / "manifest.json") == manifest:
                return True
        except (FileNotFoundError, ValueError):
            log.info("%s/manifest.json is made again from run.json and the snapshots", self.path)
        for entry in manifest["snapshots"]:
            facts = load_tensors(self.path / entry["file"])[1]
            same = all(facts[name] == entry[name] for name in ("iteration", "flow_time", "loss"))
            if not same or facts["key"] != self.spec.trajectory_key:
                log.warning("%s/run.json does not tell of %s", self.path, entry["file"])
                return False
        return bool(manifest["key"] == self.spec.key)

    def damaged(self, entries: list[dict[str, Any]]) -> list[str]:
        """Files among `entries` ({file, sha256}) that are missing or differ from their checksum."""
        return [
            entry["file"]
            for entry in entries
            if not (self.path / entry["file"]).is_file()
            or sha256(self.path / entry["file"]) != entry["sha256"]
        ]

    def save_snapshot(
        self, tensors: Mapping[str, Tensor], iteration: int, flow_time: float, loss: float
    ) -> dict[str, Any]:
        """Write one weight snapshot; returns its entry for the manifest."""
        facts = {"iteration": iteration, "flow_time": flow_time, "loss": loss}
        name = f"snapshots/{step_name(iteration)}.safetensors"
        save_tensors(self.path / name, tensors, {**facts, "key": self.spec.trajectory_key})
        return {**facts, "file": name, "sha256": sha256(self.path / name)}

    def save_checkpoint(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Write the checkpoint over the last one."""
        metadata = {**metadata, "trajectory_key": self.spec.trajectory_key}
        save_tensors(self.path / CHECKPOINT, tensors, metadata)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The checkpoint, or None where there is none that this run can continue from."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            tensors, metadata = load_tensors(path)
        except DamagedFile as error:
            log.warning("%s: the run starts from the beginning", error)
            return None
        if (
            metadata["trajectory_key"] != self.spec.trajectory_key
            or metadata["iteration"] > self.spec.stop.max_iterations
        ):
            return None
        damaged = self.damaged(metadata["snapshots"])
        for name in damaged:
            log.warning("%s/%s is missing or damaged: the run starts anew", self.path, name)
        return None if damaged else (tensors, metadata)

    def remove_checkpoint(self) -> None:
        """Forget the checkpoint, which a finished run no longer needs."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def save_trajectory(self, kinds: Mapping[str, str], rows: list[list[float]]) -> dict[str, Any]:
        """Write trajectory.parquet; returns its entry for the manifest.

        `kinds` gives each column's NumPy type, in the order of the rows' numbers.
        """
        table = np.array(rows, dtype=np.float64).reshape(-1, len(kinds))
        arrays = {name: table[:, i].astype(kind) for i, (name, kind) in enumerate(kinds.items())}
        path = self.path / "trajectory.parquet"
        with replacing(path) as temporary:
            pq.write_table(pa.table(arrays), temporary)
        return {"file": path.name, "sha256": sha256(path)}
