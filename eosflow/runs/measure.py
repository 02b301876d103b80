"""Measurements of the snapshots of one run: which, from what, into which files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.measurements.base import Measurement
from eosflow.objectives.base import Objective
from eosflow.runs.folder import make_objective
from eosflow.runs.names import index_key, place_of, snapshot_key, step_name
from eosflow.runs.spec import RunSpec
from eosflow.storage.damage import DAMAGED, note_damage, noted
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256, write_json
from eosflow.storage.tensors import DamagedFile, load_tensors


class RunMeasurer:
    """Takes one measurement of the snapshots that a run's manifest lists."""

    def __init__(
        self, folder: Path, subset_path: Path, measurement: Measurement, device: str = "cpu"
    ) -> None:
        self.folder = folder
        self.measurement = measurement
        self.place = folder / place_of(measurement.name)
        self._damaged = noted(self.place)
        record = read_json(folder / "run.json")
        self.spec = RunSpec.from_record(record["spec"])
        self.manifest = read_json(folder / "manifest.json")
        self._device = torch.device(device)
        self._subset_path = subset_path
        self._objective: Objective | None = None

    def entry(self, iteration: int) -> dict[str, Any]:
        """The manifest's entry of a snapshot. Raises: UserError naming the iterations there are."""
        entries = {entry["iteration"]: entry for entry in self.manifest["snapshots"]}
        if iteration not in entries:
            known = ", ".join(str(number) for number in sorted(entries))
            raise UserError(
                f"{self.folder} has no snapshot of iteration {iteration}. It has snapshots of "
                f"iterations {known}."
            )
        return dict(entries[iteration])

    def chosen(self) -> list[dict[str, Any]]:
        """The manifest's entries of the snapshots that the measurement's cadence takes."""
        every = self.measurement.every
        entries: list[dict[str, Any]] = self.manifest["snapshots"]
        return [e for e in entries if every == 0 or e["iteration"] % every == 0]

    def snapshot(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Measure one snapshot, or read it where that was done; returns its index entry."""
        path = self.place / f"{step_name(entry['iteration'])}.json"
        key = snapshot_key(entry, self.measurement)
        if _stored_key(path) != key or path.name in self._damaged:
            theta = self._load(entry).to(self._device)
            if self._objective is None:
                self._objective = make_objective(self.spec, self._subset_path, self._device)
            iteration, seed = entry["iteration"], self.spec.init_seed
            record = {
                "iteration": iteration,
                "flow_time": entry["flow_time"],
                **self.measurement.measure(self._objective, theta, iteration, seed),
                "version": self.measurement.version,
                "key": key,
            }
            write_json(path, record)
        return {"iteration": entry["iteration"], "file": path.name, "sha256": sha256(path)}

    def run(self) -> dict[str, Any]:
        """Measure every chosen snapshot that has not been, then write index.json; returns it."""
        entries = [self.snapshot(entry) for entry in self.chosen()]
        index = {
            "key": digest(entries),
            "measurement": index_key(self.measurement),
            "version": self.measurement.version,
            "snapshots": entries,
        }
        write_json(self.place / "index.json", index)
        (self.place / DAMAGED).unlink(missing_ok=True)
        return index

    def _load(self, entry: dict[str, Any]) -> Tensor:
        path = self.folder / entry["file"]
        if not path.is_file() or sha256(path) != entry["sha256"]:
            reason = "it is missing or does not match the manifest's checksum"
            note_damage(self.folder, [entry["file"]], reason)
            raise DamagedFile(
                path, f"{reason}. Start the workflow again: the run is trained again where needed"
            )
        tensors, _ = load_tensors(path)
        return self.spec.network.build(self.spec.shape, self.spec.outputs).flatten(tensors)


def _stored_key(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["key"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def measure_snapshot(
    folder: Path, iteration: int, subset_path: Path, measurement: Measurement, device: str = "cpu"
) -> dict[str, Any]:
    """Make `stepNNNNNN.json` of one snapshot; returns its index entry."""
    run = RunMeasurer(folder, subset_path, measurement, device)
    return run.snapshot(run.entry(iteration))


def measure_run(
    folder: Path, subset_path: Path, measurement: Measurement, device: str = "cpu"
) -> dict[str, Any]:
    """Make every snapshot's record that is missing, then `index.json`; returns it."""
    return RunMeasurer(folder, subset_path, measurement, device).run()
