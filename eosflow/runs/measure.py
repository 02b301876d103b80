"""Measurements of the snapshots of one run: which, from what, into which files."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.datasets.base import subset_file
from eosflow.measurements.base import Measurement
from eosflow.objectives.base import Objective
from eosflow.runs.data import RunData, load_data, made_on
from eosflow.runs.names import index_key, place_of, snapshot_key, step_name
from eosflow.runs.session import NAMES, session
from eosflow.runs.spec import specified
from eosflow.storage.damage import DAMAGED, note_damage, noted
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import (
    read_json,
    read_sealed,
    remove_leftovers,
    sha256,
    write_json,
)
from eosflow.storage.tensors import DamagedFile, load_tensors

log = logging.getLogger(__name__)

AGAIN = "Start the workflow again: it is made anew"


class RunMeasurer:
    """Takes one measurement of the snapshots that a run's manifest lists."""

    def __init__(
        self, folder: Path, subset_path: Path, measurement: Measurement, device: str = "cpu"
    ) -> None:
        self.folder = folder
        self.measurement = measurement
        self.place = folder / place_of(measurement.name)
        self._damaged = noted(self.place)
        self._listed = _listed(self.place)
        self._record = _read(folder / "run.json")
        try:
            self.spec = specified(self._record)
        except ValueError as error:
            raise DamagedFile(folder / "run.json", f"{error}. {AGAIN}") from error
        self.manifest = _read(folder / "manifest.json")
        if self._record.get("manifest") != self.manifest:
            reason = f"it is not the manifest that run.json tells of. {AGAIN}"
            raise DamagedFile(folder / "manifest.json", reason)
        self._device = torch.device(device)
        self._subset_path = subset_path
        self._objective: Objective | None = None
        self._held_out = self._load_held_out()

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
        key = self._key(entry)
        if path.name in self._damaged or not self._done(path, key):
            theta = self._load(entry).to(self._device)
            if self._objective is None:
                self._objective = self._loss(entry, theta)
            iteration, seed = entry["iteration"], self.spec.init_seed
            record = {
                "iteration": iteration,
                "flow_time": entry["flow_time"],
                **self._measure(self._objective, theta, iteration, seed),
                "version": self.measurement.version,
                "made_with": session(self._device),
                "key": key,
            }
            write_json(path, record)
        return {"iteration": entry["iteration"], "file": path.name, "sha256": sha256(path)}

    def run(self) -> dict[str, Any]:
        """Measure every chosen snapshot that has not been, then write index.json; returns it."""
        remove_leftovers(self.place)
        entries = [self.snapshot(entry) for entry in self.chosen()]
        index = {
            "key": digest(entries),
            "measurement": index_key(self.measurement),
            "version": self.measurement.version,
            "run": self.spec.key,
            "of": digest(self.manifest["snapshots"]),
            **({"held_out": self._held_out.record()} if self._held_out else {}),
            "made_with": self._made_with(entries),
            "snapshots": entries,
        }
        write_json(self.place / "index.json", index)
        (self.place / DAMAGED).unlink(missing_ok=True)
        return index

    def _load_held_out(self) -> RunData | None:
        """The held-out examples, if the measurement wants any; they lie beside the subset."""
        wanted = self.measurement.held_out_examples
        path = self._subset_path.with_name(subset_file(self.spec.dataset, None))
        return load_data(self.spec, path, wanted) if wanted else None

    def _key(self, entry: dict[str, Any]) -> str:
        """What a snapshot's record depends on: also the held-out examples, where it has any."""
        key = snapshot_key(entry, self.measurement)
        return digest([key, self._held_out.record()["rows_sha256"]]) if self._held_out else key

    def _measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        if self._held_out is None:
            measurement = self.measurement.during(self.spec.optimizer, iteration)
            return measurement.measure(objective, theta, iteration, seed)
        make = functools.partial(self._held_out.objective, self.spec, self._device)
        held_out = objective.scratch("held out", make)
        measure: Any = self.measurement.measure
        return dict(measure(objective, theta, iteration, seed, held_out))

    def _made_with(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With what the records were made, each once, in the order of the snapshots."""
        found: list[dict[str, Any]] = []
        for entry in entries:
            made_with = read_json(self.place / entry["file"]).get("made_with")
            if made_with and made_with not in found:
                found.append(made_with)
        if len(found) > 1:
            changed = [
                name for name in NAMES if any(made[name] != found[0][name] for made in found)
            ]
            log.warning(
                "%s was measured with more than one of %s: last bits may depend on that",
                *(self.place, ", ".join(changed)),
            )
        return found

    def _done(self, path: Path, key: str) -> bool:
        """Whether a snapshot's record is there, of this snapshot, and as it was written."""
        try:
            record, sealed = read_sealed(path)
        except (FileNotFoundError, ValueError):
            return False
        # A record from before there were checksums is known by that in the index.
        known = sealed or self._listed.get(path.name) == sha256(path)
        return known and record.get("key") == key

    def _loss(self, entry: dict[str, Any], theta: Tensor) -> Objective:
        """The run's loss. Raises: UserError where the subset is not that of its training."""
        data = load_data(self.spec, self._subset_path)
        objective = data.objective(self.spec, self._device)
        known = self._record.get("subset")
        if not made_on(known, data.record(), objective, theta, entry["loss"]):
            raise UserError(
                f"{self._subset_path} does not hold the examples that {self.folder} was trained "
                "on, so it cannot be measured on them. Put the former file back, or move the "
                "run's folder away to train it on the examples there are now."
            )
        return objective

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


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ValueError as error:
        raise DamagedFile(path, f"{error}. {AGAIN}") from error


def _listed(place: Path) -> dict[str, str]:
    """The checksums in the index of a place; none without an index that can be read."""
    try:
        snapshots = read_json(place / "index.json")["snapshots"]
        return {entry["file"]: entry["sha256"] for entry in snapshots}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


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
