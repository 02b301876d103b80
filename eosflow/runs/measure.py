"""Measurements of the snapshots of one run: which, from what, into which files."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.datasets.base import subset_file
from eosflow.measurements.base import Measurement
from eosflow.objectives.base import Objective
from eosflow.runs import whole
from eosflow.runs.data import RunData, load_data
from eosflow.runs.names import measured_folder, snapshot_key, step_name
from eosflow.runs.records import Index, Manifest, Measured, RunRecord, Snapshot, StepRecord
from eosflow.runs.session import NAMES, session
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import remove_leftovers, set_aside
from eosflow.storage.tensors import DamagedFile, load_tensors

log = logging.getLogger(__name__)

AGAIN = "Start the workflow again: it is made again"


class Run:
    """A finished run: its records, read once, and its loss, made once for all measurements."""

    def __init__(self, folder: Path, subset_path: Path, device: str = "cpu") -> None:
        self.folder = folder
        self.device = torch.device(device)
        self.subset_path = subset_path
        try:
            self.record = RunRecord.read(folder / "run.json")
            self.spec = self.record.run
            self.manifest = Manifest.read(folder / "manifest.json")
        except (OSError, ValueError) as error:
            raise DamagedFile(folder, f"{error}. {AGAIN}") from error

    @functools.cached_property
    def objective(self) -> Objective:
        """The loss. Raises: UserError if the subset is not that of the training."""
        data = load_data(self.spec, self.subset_path)
        if self.record.subset.get("rows_sha256") != data.record()["rows_sha256"]:
            raise UserError(
                f"{self.subset_path} does not hold the examples that {self.folder} was trained "
                "on, so it cannot be measured on them. Put the former file back, or delete the "
                "run's folder to train it on the examples there are now."
            )
        return data.objective(self.spec, self.device)

    @functools.cache  # noqa: B019  (there is one in a process)
    def held_out(self, examples: int) -> RunData:
        """Examples of the test split, which lie beside the subset."""
        path = self.subset_path.with_name(subset_file(self.spec.dataset, None))
        return load_data(self.spec, path, examples)

    def theta(self, entry: Snapshot) -> Tensor:
        """The weights θ (P,) of a snapshot.

        Raises: DamagedFile, after moving the file aside, if it is not as the manifest lists it.
        """
        for damage in whole.of_files(self.folder, [entry], deep=True):
            damage.set_aside()
            raise DamagedFile(damage.path, f"{damage.why}. {AGAIN}")
        tensors, _ = load_tensors(self.folder / entry.file)
        network = self.spec.network.build(self.spec.shape, self.spec.outputs)
        return network.flatten(tensors).to(self.device)


class RunMeasurer:
    """Takes one measurement of the snapshots that a run's manifest lists."""

    def __init__(self, run: Run, measurement: Measurement) -> None:
        self.run = run
        self.measurement = measurement
        self.folder = run.folder / measured_folder(measurement)
        examples = measurement.held_out_examples
        self._held_out = run.held_out(examples) if examples else None

    def chosen(self) -> list[Snapshot]:
        """The manifest's entries of the snapshots that the measurement's cadence takes."""
        every = self.measurement.every
        return [e for e in self.run.manifest.snapshots if every == 0 or e.iteration % every == 0]

    def snapshot(self, entry: Snapshot) -> StepRecord:
        """Measure one snapshot, or read its record if that was done."""
        path, key = self.folder / f"{step_name(entry.iteration)}.json", self._key(entry)
        if known := self._done(path, key):
            return known
        numbers = self._measure(entry.iteration, self.run.theta(entry))
        record = StepRecord(
            **{"iteration": entry.iteration, "flow_time": entry.flow_time, **numbers},
            version=self.measurement.version,
            made_with=session(self.run.device),
            key=key,
        )
        record.write(path)
        return record

    def all(self) -> Index:
        """Measure every chosen snapshot that has not been, then write index.json; returns it."""
        remove_leftovers(self.folder)
        records = [self.snapshot(entry) for entry in self.chosen()]
        names = [f"{step_name(record.iteration)}.json" for record in records]
        index = Index(
            run=self.run.spec.key,
            of=self.run.manifest.digest,
            made_with=self._made_with(records),
            snapshots=tuple(
                Measured.of(self.folder, name, iteration=record.iteration)
                for name, record in zip(names, records, strict=True)
            ),
            **({"held_out": self._held_out.record()} if self._held_out else {}),
        )
        index.write(self.folder / "index.json")
        return index

    def _key(self, entry: Snapshot) -> str:
        """What a snapshot's record depends on: also the held-out examples, if it has any."""
        key = snapshot_key(entry.sha256, self.measurement)
        return digest([key, self._held_out.record()["rows_sha256"]]) if self._held_out else key

    def _measure(self, iteration: int, theta: Tensor) -> dict[str, Any]:
        objective, seed = self.run.objective, self.run.spec.init_seed
        if self._held_out is None:
            measurement = self.measurement.during(self.run.spec.optimizer, iteration)
            return measurement.measure(objective, theta, iteration, seed)
        make = functools.partial(self._held_out.objective, self.run.spec, self.run.device)
        held_out = objective.scratch("held out", make)
        measure: Any = self.measurement.measure
        return dict(measure(objective, theta, iteration, seed, held_out))

    def _made_with(self, records: Sequence[StepRecord]) -> tuple[dict[str, Any], ...]:
        """With what the records were made, each once, in the order of the snapshots."""
        programs: list[dict[str, Any]] = []
        for record in records:
            if record.made_with not in programs:
                programs.append(record.made_with)
        if len(programs) > 1:
            changed = [
                name for name in NAMES if any(made[name] != programs[0][name] for made in programs)
            ]
            log.warning(
                "%s was measured with more than one of %s: last bits may depend on that",
                *(self.folder, ", ".join(changed)),
            )
        return tuple(programs)

    def _done(self, path: Path, key: str) -> StepRecord | None:
        """A snapshot's record if it is there and of this snapshot; a damaged one is moved aside."""
        try:
            record = StepRecord.read(path)
        except FileNotFoundError:
            return None
        except ValueError:
            set_aside(path, "record")
            return None
        return record if record.key == key else None


def measure_snapshot(
    folder: Path, iteration: int, subset_path: Path, measurement: Measurement, device: str = "cpu"
) -> StepRecord:
    """Make `stepNNNNNN.json` of one snapshot; returns it."""
    run = Run(folder, subset_path, device)
    return RunMeasurer(run, measurement).snapshot(run.manifest.entry(iteration))


def measure_run(
    folder: Path, subset_path: Path, *measurements: Measurement, device: str = "cpu"
) -> list[Index]:
    """Make the records of a run's measurements that are missing, and their indices."""
    run = Run(folder, subset_path, device)
    return [RunMeasurer(run, measurement).all() for measurement in measurements]
