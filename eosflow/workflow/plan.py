"""One configuration as the rules need it: its runs, and what is to be made of them.

No science, no heavy import and no look at the results: what is there already is for `again.py`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from eosflow.measurements.base import Measurement
from eosflow.results import figures
from eosflow.runs import whole
from eosflow.runs.names import measured_folder, run_folder, view_of
from eosflow.runs.spec import RunSpec
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError, did_you_mean
from eosflow.storage.files import readable, write_json
from eosflow.storage.records import Digest, FileName, Record
from eosflow.studies import STUDIES
from eosflow.workflow import config as configuration
from eosflow.workflow import expand


class Recorded(Record):
    """What `Plan.write` writes: see `Plan.record`."""

    config: dict[str, Any]
    runs: dict[str, Digest]
    measurements: dict[str, dict[str, FileName]]


class Plan:
    """One configuration, expanded; it never changes. Raises: UserError if it cannot be run.

    `runs` are all runs by the folders in which people find them, `EXP/nN/RUN`; `selected` those of
    them that tables, figures and report are made of, `study_runs` those of each study.
    `shows_dice`: the images of Dice have a table and a figure among them.
    `measurements` is what is measured of the selected, by name, `studies` are those to make.
    `left_out` says what was asked for and is not made.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.left_out = configuration.available(configuration.clean(config))
        self.results = os.path.normpath(self.config["results_dir"])
        self.runs = expand.expand(self.config)
        # Not selected and so not measured: a study's experiments say what is.
        self.measurements = self._measured_of({}) if self.config["select"] else {}
        self.studies: list[str] = self.config["studies"]
        self.study_runs = {
            study: [folder for folder, run in self.runs.items() if run.experiment in experiments]
            for study, experiments in expand.of_studies(self.config).items()
        }
        chosen = set(self.config["select"])
        self.selected = [folder for folder, run in self.runs.items() if run.experiment in chosen]
        self.shows_dice = bool(self.selected) and "dice-ce" in chosen
        listed = figures.entries(self.config["select"], self.studies)
        self.figures = {n: each for n, each in listed.items() if self.selected or n in STUDIES}

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """The plan that `write` wrote. Raises: UserError if it cannot be read."""
        try:
            record = Recorded.read(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read: {error}. Start the workflow again: it is written again."
            ) from None
        return cls(record.config)

    def record(self) -> dict[str, Any]:
        """The configuration, its runs by their keys, and where what is measured of each lies."""
        return {
            "config": self.config,
            "runs": {folder: run.key for folder, run in self.runs.items()},
            "measurements": {
                folder: {name: measured_folder(m) for name, m in self.measured_of(folder).items()}
                for folder in self.runs
            },
        }

    @functools.cached_property
    def file(self) -> str:
        """Where the plan is written for its jobs, by the key of what it is."""
        key = digest([self.config, list(self.runs)])
        return f"{self.results}/logs/configurations/{key}.json"

    def write(self, path: Path | str) -> None:
        """Write `record`, if it is not there already."""
        content = self.record()
        if readable(path) != content:
            write_json(path, content)

    def _measured_of(self, experiment: Mapping[str, Any]) -> dict[str, Measurement]:
        return {item.name: item for item in expand.measurements(self.config, experiment)}

    @functools.cache  # noqa: B019  (there is one in a process)
    def _measured_by(self, experiment: str) -> dict[str, Measurement]:
        return self._measured_of(self.config["experiments"][experiment])

    def measured_of(self, folder: str) -> dict[str, Measurement]:
        """What is measured of the snapshots of a run, by name. Raises: as `run`."""
        return self._measured_by(self.run(folder).experiment)

    def home(self, folder: str) -> Path:
        """Where a run really lies: the folder called by its key."""
        return run_folder(self.results, self.run(folder).key)

    def damages(self, folder: str) -> tuple[list[whole.Damage], list[whole.Damage]]:
        """What of a run is missing or damaged, and what of its measurements; planning's look.

        A run whose snapshots were deleted is missing them if a measurement is to be taken.
        """
        home, key = self.home(folder), self.run(folder).key
        manifest, of_run = whole.of_run(home, key)
        if of_run or manifest is None:
            return of_run, []
        measured = [home / measured_folder(each) for each in self.measured_of(folder).values()]
        rest = [damage for place in measured for damage in whole.of_measurement(place, manifest)]
        if rest and (gone := whole.deleted(home)):
            of_run = [whole.Damage(home / name, "missing") for name in sorted(gone)]
        return of_run, rest

    def run(self, folder: str) -> RunSpec:
        """The run of a folder `EXP/nN/RUN`. Raises: UserError naming the nearest there is."""
        if folder not in self.runs:
            raise UserError(
                f"The configuration has no run {folder}.{did_you_mean(folder, self.runs)} "
                "Experiments, sizes and seeds are those of config.yaml and of the files and values "
                "that override it."
            )
        return self.runs[folder]

    def measurement(self, folder: str, view: str) -> Measurement:
        """The measurement that people find in `view` below a run's folder.

        Raises: UserError if the configuration takes no such measurement of the run.
        """
        measured = self.measured_of(folder)
        for name, measurement in measured.items():
            if view_of(name) == view:
                return measurement
        raise UserError(
            f"{view}: of {folder} the configuration measures {', '.join(measured)}. What is "
            "measured is said with `measure` in the config."
        )

    def discarded(self, folders: Collection[str]) -> list[str]:
        """The notes of deleted snapshots, one for each run; none if snapshots are kept."""
        kept = self.config["keep_snapshots"]
        return [] if kept else [f"{self.results}/{folder}/{whole.CLEANED}" for folder in folders]
