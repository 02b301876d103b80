"""What is there but cannot stand for what the config asks for: the one place that decides.

Snakemake compares only with what it noted in this clone. What is here may be of another
specification or version, or damaged, so these functions look at the files themselves. What must be
made again gets a *request*: a small file, newer than the result, that its rule names as an input.
A good result has no request among its inputs; one that is not there needs none.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from eosflow.datasets.base import SUBSET_VERSION, DatasetSettings, subset_file
from eosflow.measurements.base import Measurement
from eosflow.runs.names import index_key, place_of, snapshot_key, step_name
from eosflow.runs.spec import RunSpec, specified
from eosflow.storage import settings
from eosflow.storage.damage import DAMAGED, deleted
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, sha256, write_json
from eosflow.workflow.products import Product


class Stale:
    """Reasons to make results again, from a results folder and the runs that are asked for.

    `measured_of` gives what is to be measured of a run, by name, from its folder.
    """

    def __init__(
        self,
        results: str,
        runs: Mapping[str, RunSpec],
        measured_of: Callable[[str], Mapping[str, Measurement]] = lambda _: {},
    ) -> None:
        self.results = results
        self.runs = runs
        self.measured_of = measured_of

    def request(self, target: str, reason: str | None) -> list[str]:
        """The request for `target`, a path below the results, written where there is a reason.

        Returns: what the target's rule names as an input: the path of the request, or nothing.
        """
        made = Path(self.results, target)
        if reason is None or not made.exists():
            return []
        path = Path(self.results, "requests", f"{target}.json")
        # Snakemake takes a newer input for an old one if it holds the same: the time tells apart
        # the requests of a result that goes bad twice in the same way.
        content = {"make_again": target, "reason": reason, "written": _time(made)}
        if readable(path) != content or _time(path) <= _time(made):
            try:
                write_json(path, content)
                if _time(path) <= _time(made):  # a clock that runs behind that of another machine
                    later = _time(made) + 10**9
                    os.utime(path, ns=(later, later))
            except OSError as error:
                raise UserError(
                    f"{made} must be made again ({reason}), but {path} cannot be written: "
                    f"{error.strerror}. Choose a results_dir that you may write to."
                ) from None
        return [str(path)]

    def subset(self, path: str, wanted: DatasetSettings, size: int) -> str | None:
        """Why a subset file must be drawn again: other settings, too few rows, another version."""
        if not Path(self.results, path).exists():
            return "it is missing"
        record = readable(Path(self.results, path).with_suffix(".json"))
        if record is None:
            return "its record is missing or damaged"
        if subset_file(record.get("dataset", ""), record.get("subset_seed")) != Path(path).name:
            return "it is the subset of another dataset or seed"
        if not settings.same(wanted, record.get("settings")):
            return "its dataset has other settings"
        rows = record.get("size")
        if not isinstance(rows, int) or rows < size:
            return f"it has {rows} rows, {size} are needed"
        if record.get("subset_version") != SUBSET_VERSION:
            return "it was made by another version"
        return None

    @functools.cache  # noqa: B019  (there is one in a process)
    def run(self, folder: str) -> str | None:
        """Why the run in a folder cannot stand for the one asked for; None where it can.

        A run that has not finished needs no reason: its manifest is not there.
        """
        place = Path(self.results, folder)
        manifest = self._manifest(folder)
        if manifest is None:
            there = (place / "manifest.json").exists()
            return f"{place}/manifest.json is damaged" if there else None
        record = readable(place / "run.json")
        if record is None or "key" not in record:
            return f"{place}/run.json is missing or damaged"
        if record["key"] != self.runs[folder].key:
            return _difference(self.runs[folder], record)
        try:
            specified(record)
        except ValueError as error:
            return f"{place}/run.json is damaged: {error}"
        if record.get("manifest") != manifest:
            return f"{place}/manifest.json is damaged"
        trajectory = manifest.get("trajectory", {}).get("file", ".")
        if not (place / trajectory).exists():
            return f"{place / trajectory} is missing"
        return _noted(place) or self._unmeasurable(folder)

    def _unmeasurable(self, folder: str) -> str | None:
        """What is still to be measured of a run whose snapshots were deleted."""
        place = Path(self.results, folder)
        if not deleted(place):
            return None
        for measurement in self.measured_of(folder).values():
            index = place / place_of(measurement.name) / "index.json"
            if not index.exists() or self.measured(folder, measurement):
                return f"its snapshots were deleted, and {measurement.name} is to be measured"
        return None

    @functools.cache  # noqa: B019  (there is one in a process)
    def _manifest(self, folder: str) -> dict[str, Any] | None:
        return readable(Path(self.results, folder, "manifest.json"))

    def measured(self, folder: str, measurement: Measurement) -> str | None:
        """Why a run's records of a measurement must be made again; None where they are good."""
        place = Path(self.results, folder, place_of(measurement.name))
        index = readable(place / "index.json")
        if index is None:
            there = (place / "index.json").exists()
            return f"{place}/index.json is damaged" if there else None
        manifest = self._manifest(folder)
        if manifest is None:
            return "its run is missing"
        if index.get("run", self.runs[folder].key) != self.runs[folder].key:
            return f"its {measurement.name} is that of another run"
        if index.get("version") != measurement.version:
            return f"its {measurement.name} was made by another version"
        # An index from before measurements had settings does not name them: they are the defaults.
        if index.get("measurement", _default(measurement)) != index_key(measurement):
            return f"its {measurement.name} was made with other settings"
        # Nor, from before it did, does it say of which snapshots it is: collecting looks then.
        if "of" in index and index["of"] != _contents(manifest):
            return f"its {measurement.name} is of other snapshots"
        return _noted(place)

    def vouched(self, folder: str, measurement: Measurement) -> str | None:
        """As `measured`, and for an index that does not say of which snapshots it is, by them."""
        if reason := self.run(folder) or self.measured(folder, measurement):
            return reason
        place = Path(self.results, folder, place_of(measurement.name))
        index, manifest = readable(place / "index.json"), self._manifest(folder)
        if index is None or manifest is None:
            return "it is missing"
        if "of" in index:
            return None
        for entry in manifest["snapshots"]:
            record = readable(place / f"{step_name(entry['iteration'])}.json")
            if record is not None and record.get("key") != snapshot_key(entry, measurement):
                return f"its {measurement.name} is of other snapshots"
        return None

    @functools.cache  # noqa: B019  (there is one in a process)
    def product(self, product: Product, specification: str | None) -> str | None:
        """Why a table, figure or frame must be made again; None where all that it tells is so.

        It must be of the runs asked for, of the sources that are there, and as it was made.
        `specification` is that of the runs; None for what is made of none.
        """
        content = readable(Path(self.results, product.record))
        if content is None:
            return f"{product.record} is missing or damaged"
        if product.of is not None:
            runs = content.get("runs")
            if not isinstance(runs, Mapping) or runs.get("specification") != specification:
                return "it was made of other runs"
        made = {Path(each["file"]).name: each["sha256"] for each in content.get("made", [])}
        for file in product.files[:-1]:
            found = self._sha256(file)
            if found is None:
                return f"{file} is missing"
            if found != made.get(Path(file).name):
                return f"{file} is damaged: it does not match the checksum in {product.record}"
        for file in product.inputs:
            if not Path(self.results, file).exists():
                return f"{file}, which it is made from, is missing"
        known = {each["sha256"] for each in content.get("sources", [])}
        for file in product.sources:
            if self._sha256(file) not in known:
                return f"{file}, which it is made from, is another now"
        return None

    @functools.cache  # noqa: B019  (there is one in a process)
    def _sha256(self, file: str) -> str | None:
        path = Path(self.results, file)
        return sha256(path) if path.is_file() else None

    def settle(
        self, files: Iterable[str], inputs: Iterable[str], reason: Callable[[], Any]
    ) -> None:
        """Give files that are current, and older than what they are made from, its time.

        Snakemake goes by times, and a plain copy of a results folder has those of the copying.
        `reason` is asked only where the times are not in order.
        """
        made = [Path(self.results, file) for file in files]
        newest = max((_time(Path(self.results, file)) for file in inputs), default=0)
        older = [path for path in made if path.exists() and _time(path) < newest]
        if not older or reason() is not None:
            return
        for path in older:
            with contextlib.suppress(PermissionError):  # another's file: it is made again
                os.utime(path, ns=(newest, newest))


def _contents(manifest: Mapping[str, Any]) -> str:
    return digest(manifest.get("snapshots"))


def _default(measurement: Measurement) -> str:
    return index_key(type(measurement)())


def _noted(place: Path) -> str | None:
    """What a job found damaged below a folder that another job made, if it left a note."""
    note = readable(place / DAMAGED)
    if note is None:
        return f"{place / DAMAGED} is damaged" if (place / DAMAGED).exists() else None
    return f"{', '.join(note.get('files', ['a file']))} in {place} is missing or damaged"


def _difference(run: RunSpec, record: Mapping[str, Any]) -> str:
    try:
        changed = run.differences(RunSpec.from_record(record["spec"]))
    except (KeyError, TypeError, ValueError, AttributeError):  # knobs were added or renamed since
        changed = []
    return "; ".join(changed) or "it was made by another version of the program, or is damaged"


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
