"""What is there but cannot stand for what the config asks for: the one place that decides.

Snakemake compares only with what it noted in this clone. What is here may be of another
specification or version, or damaged, so these functions look at the files themselves. What must be
made again gets a *request*: a small file, newer than the result, that its rule names as an input.
A good result has no request among its inputs; one that is not there needs none.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eosflow.datasets.base import SUBSET_VERSION
from eosflow.measurements.base import Measurement
from eosflow.runs.names import index_key, place_of
from eosflow.runs.spec import RunSpec
from eosflow.storage.damage import DAMAGED
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json


class Stale:
    """Reasons to make results again, from a results folder and the runs that are asked for."""

    def __init__(self, results: str, runs: Mapping[str, RunSpec]) -> None:
        self.results = results
        self.runs = runs

    def request(self, target: str, reason: str | None) -> list[str]:
        """The request for `target`, a path below the results, written where there is a reason.

        Returns: what the target's rule names as an input: the path of the request, or nothing.
        """
        made = Path(self.results, target)
        if reason is None or not made.exists():
            return []
        path = Path(self.results, "requests", f"{target}.json")
        content = {"make_again": target, "reason": reason}
        if _read(path) != content or _time(path) <= _time(made):
            try:
                write_json(path, content)
                if _time(path) <= _time(made):  # a clock that runs behind that of another machine
                    os.utime(path, (_time(made) + 1, _time(made) + 1))
            except OSError as error:
                raise UserError(
                    f"{made} must be made again ({reason}), but {path} cannot be written: "
                    f"{error.strerror}. Choose a results_dir that you may write to."
                ) from None
        return [str(path)]

    def subset(self, path: str, wanted: Mapping[str, Any], size: int) -> str | None:
        """Why a subset file must be drawn again: other settings, too few rows, another version."""
        if not Path(self.results, path).exists():
            return "it is missing"
        record = _read(Path(self.results, path).with_suffix(".json"))
        if record is None:
            return "its record is missing or damaged"
        if record.get("settings") != wanted:
            return "its dataset has other settings"
        if record.get("size", 0) < size:
            return f"it has {record.get('size')} rows, {size} are needed"
        if record.get("subset_version") != SUBSET_VERSION:
            return "it was made by another version"
        return None

    @functools.cache  # noqa: B019  (there is one in a process)
    def run(self, folder: str) -> str | None:
        """Why the run in a folder cannot stand for the one asked for; None where it can.

        A run that has not finished needs no reason: its manifest is not there.
        """
        place = Path(self.results, folder)
        manifest = _read(place / "manifest.json")
        if manifest is None:
            there = (place / "manifest.json").exists()
            return f"{place}/manifest.json is damaged" if there else None
        record = _read(place / "run.json")
        if record is None or "key" not in record:
            return f"{place}/run.json is missing or damaged"
        if record["key"] != self.runs[folder].key:
            return _difference(self.runs[folder], record)
        if record.get("manifest") != manifest:
            return f"{place}/manifest.json is damaged"
        return _noted(place)

    def measured(self, folder: str, measurement: Measurement) -> str | None:
        """Why a run's records of a measurement must be made again; None where they are good."""
        place = Path(self.results, folder, place_of(measurement.name))
        index = _read(place / "index.json")
        if index is None:
            there = (place / "index.json").exists()
            return f"{place}/index.json is damaged" if there else None
        if index.get("version") != measurement.version:
            return f"its {measurement.name} was made by another version"
        # An index from before measurements had settings does not name them: they are the defaults.
        if index.get("measurement", _default(measurement)) != index_key(measurement):
            return f"its {measurement.name} was made with other settings"
        return _noted(place)

    def made_of(self, record: str, keys: Iterable[str]) -> str | None:
        """Why a table or figure must be made again: it was made of other runs than those asked for.

        `record` is the path of its provenance below the results; without it nothing is known.
        """
        content = _read(Path(self.results, record))
        wanted = digest(sorted(keys))
        runs = content.get("runs") if content else None
        if not isinstance(runs, Mapping) or runs.get("specification") != wanted:
            return "it was made of other runs"
        return None


def _default(measurement: Measurement) -> str:
    return index_key(type(measurement)())


def _noted(place: Path) -> str | None:
    """What a job found damaged below a folder that another job made, if it left a note."""
    note = _read(place / DAMAGED)
    if note is None:
        return f"{place / DAMAGED} is damaged" if (place / DAMAGED).exists() else None
    return f"{', '.join(note.get('files', ['a file']))} in {place} is missing or damaged"


def _difference(run: RunSpec, record: Mapping[str, Any]) -> str:
    try:
        changed = run.differences(RunSpec.from_record(record["spec"]))
    except (KeyError, TypeError, ValueError, AttributeError):  # knobs were added or renamed since
        changed = []
    return "; ".join(changed) or "it was made by another version of the program"


def _read(path: Path) -> Any:
    """The record in a file; None where there is none that can be read."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
