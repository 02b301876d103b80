"""Whether what lies in a run's folder is whole: the one check that all go by.

Planning looks at seals, names and sizes; whoever deletes, collects or verifies reads every byte
(`deep`). Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from eosflow.runs.records import Cleaned, Index, Manifest, RunRecord
from eosflow.storage.files import set_aside
from eosflow.storage.records import Listed, Record

Why = Literal["missing", "size", "checksum", "record", "other-run", "other-snapshots", "unfinished"]
CLEANED = "cleaned.json"  # in a run's folder: which snapshots were deleted on purpose
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Damage:
    """A file that is not as it must be, and why."""

    path: Path
    why: Why

    def __str__(self) -> str:
        return f"{self.path} ({self.why})"

    def set_aside(self) -> None:
        """Rename the file, if it is there and its contents are what is wrong."""
        if self.why in ("size", "checksum", "record", "other-run", "other-snapshots"):
            set_aside(self.path.resolve(), self.why)  # it may be named by a link in a view


def of_run(
    folder: Path, key: str, deep: bool = False, weights: bool = True
) -> tuple[Manifest | None, list[Damage]]:
    """The manifest of a finished run, if it can be read, and what is wrong with the run.

    Snapshots that cleaned.json lists may be missing; without `weights` no snapshot is checked.
    """
    record = _read(RunRecord, folder / "run.json")
    manifest = _read(Manifest, folder / "manifest.json")
    wrong = []
    for name, each in (("run.json", record), ("manifest.json", manifest)):
        if isinstance(each, Damage):
            wrong.append(each)
        elif each.key != key:
            wrong.append(Damage(folder / name, "other-run"))
    if isinstance(record, RunRecord) and record.status != "finished":
        wrong.append(Damage(folder / "run.json", "unfinished"))
    if isinstance(manifest, Damage) or manifest.key != key:
        return None, wrong
    if isinstance(record, RunRecord) and record.manifest not in (
        None,
        manifest.model_dump(mode="json"),
    ):
        wrong.append(Damage(folder / "manifest.json", "other-run"))
    gone = deleted(folder)
    wrong += of_files(folder, [manifest.trajectory], deep)
    for damage in of_files(folder, manifest.snapshots if weights else (), deep):
        if damage.why != "missing" or damage.path.relative_to(folder).as_posix() not in gone:
            wrong.append(damage)
    return manifest, wrong


def of_measurement(folder: Path, manifest: Manifest, deep: bool = False) -> Iterator[Damage]:
    """What is wrong with the records of a measurement of a run with this manifest."""
    index = _read(Index, folder / "index.json")
    if isinstance(index, Damage):
        yield index
    elif (index.run, index.of) != (manifest.key, manifest.digest):
        yield Damage(folder / "index.json", "other-snapshots")
    else:
        yield from of_files(folder, index.snapshots, deep)


def of_files(folder: Path, entries: Collection[Listed], deep: bool = False) -> Iterator[Damage]:
    """Those of the listed files that are not as listed."""
    for entry in entries:
        if why := entry.wrong(folder, deep):
            yield Damage(folder / entry.file, why)  # type: ignore[arg-type]


def deleted(folder: Path) -> frozenset[str]:
    """The snapshots of a run that were deleted on purpose."""
    note = Cleaned.readable(folder / CLEANED)
    return frozenset(note.snapshots) if note else frozenset()


def _read(kind: type[R], path: Path) -> R | Damage:
    try:
        return kind.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return Damage(path, "missing")
    except (OSError, ValueError):
        return Damage(path, "record")
