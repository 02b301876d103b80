"""Free the space of weight snapshots whose numbers are taken; all else stays as it is."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.results.manifest import verify_runs
from eosflow.runs.names import place_of
from eosflow.runs.spec import specified
from eosflow.storage import provenance
from eosflow.storage.damage import CLEANED, DAMAGED
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, readable, write_json
from eosflow.workflow.locks import alone_in, at_work
from eosflow.workflow.sizes import size_in_words
from eosflow.workflow.status import CONFIGURATION, DECOMPOSED, run_folders

SNAPSHOT = re.compile(r"snapshots/step\d+\.safetensors")
CUT_OFF = "it was cut off, and could go on with a larger stop.max_iterations"


@dataclass
class Freeable:
    """What can be deleted: the snapshots of each run, and why other runs are left whole."""

    results: Path
    files: dict[str, list[Path]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(path.stat().st_size for paths in self.files.values() for path in paths)

    def in_words(self) -> str:
        """What `eosflow clean` prints before it deletes anything."""
        count = sum(map(len, self.files.values()))
        lines = [
            f"{self.results}: {count} weight snapshots of {len(self.files)} runs, "
            f"{size_in_words(self.bytes)}, can be deleted."
        ]
        for reason, number in Counter(self.kept.values()).items():
            such = next(folder for folder, why in self.kept.items() if why == reason)
            lines.append(f"Left whole: {number} such as {such}: {reason}.")
        lines.append(
            "Tables, figures, report, frames, records and trajectories stay, and so do subsets and "
            "archives. What a new measurement needs is then trained again."
        )
        return "\n".join(lines)


def freeable(results: Path) -> Freeable:
    """The snapshots of runs that are finished and measured, and nothing that is not known.

    Raises: UserError where there are no runs.
    """
    found = Freeable(results)
    configuration = readable(results / CONFIGURATION) or {}
    measured = configuration.get("measurements", {})
    for folder in run_folders(results):
        reason = _obstacle(results / folder, measured.get(folder, DECOMPOSED))
        if reason:
            found.kept[folder] = reason
            continue
        listed = read_json(results / folder / "manifest.json")["snapshots"]
        paths = [results / folder / entry["file"] for entry in listed]
        if there := [path for path in paths if path.is_file()]:
            found.files[folder] = there
    if not found.kept and not run_folders(results):
        raise UserError(f"{results} holds no runs. Name a results folder, such as results/demo.")
    return found


def _obstacle(place: Path, measurements: Iterable[str]) -> str:
    """Why the snapshots of a run must stay; empty where they need not."""
    record, manifest = readable(place / "run.json"), readable(place / "manifest.json")
    try:
        if record is None or manifest is None or record.get("status") != "finished":
            return "not finished, or a record is damaged"
        specified(record)
    except ValueError:
        return "its run.json cannot be read"
    if record.get("manifest") != manifest or (place / DAMAGED).exists():
        return "not finished, or a record is damaged"
    if manifest["stopped"] == "max_iterations":
        return CUT_OFF
    if not all(SNAPSHOT.fullmatch(entry["file"]) for entry in manifest["snapshots"]):
        return "its manifest names files that are no snapshots"
    for name in measurements:
        index = readable(place / place_of(name) / "index.json")
        if index is None:
            return f"{name} is still to be measured"
        if index.get("of") != digest(manifest["snapshots"]):
            return f"its {name} does not say that it is of these snapshots"
    return ""


def clean(results: Path) -> Freeable:
    """Delete what `freeable` finds, note it in each run's folder, and list the results anew.

    Raises: UserError where a Snakemake or one of its jobs is at work there.
    """
    with _alone(results):
        found = freeable(results)
        busy = [folder for folder in run_folders(results) if at_work(results / folder)]
        if busy:
            raise UserError(
                f"A job is at work in {results / busy[0]}, though no Snakemake is. Nothing was "
                "deleted: wait until it ends."
            )
        size = found.bytes
        for folder, paths in found.files.items():
            with alone_in(results / folder):
                _delete(results / folder, paths)
        _list_without(results, found)
    print(f"{size_in_words(size)} were freed in {results}.")
    return found


def discard(folder: Path, measurements: Sequence[str]) -> None:
    """Delete the snapshots of one run of which all is measured, as `keep_snapshots: false` asks.

    Killed at any moment, it is done again from the start. A run that was cut off keeps its
    snapshots, for it goes on from them; the note in its folder then lists none.

    Raises: UserError, before anything is deleted, where a measurement is missing or damaged.
    """
    with alone_in(folder):
        why_not = _obstacle(folder, measurements)
        if why_not not in ("", CUT_OFF):
            raise UserError(
                f"The snapshots of {folder} cannot be deleted yet: {why_not}. Nothing was deleted."
            )
        verify_runs([folder], [place_of(name) for name in measurements])
        listed = [] if why_not else read_json(folder / "manifest.json")["snapshots"]
        _delete(folder, [folder / entry["file"] for entry in listed])


def _delete(folder: Path, paths: Sequence[Path]) -> None:
    """Delete snapshots of a run; the note comes first, so that none is ever missed unexplained."""
    names = [path.relative_to(folder).as_posix() for path in paths]
    write_json(folder / CLEANED, {"snapshots": names})
    for path in paths:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else lies there
        (folder / "snapshots").rmdir()


def _list_without(results: Path, found: Freeable) -> None:
    """Take the deleted files out of manifest.json, where there is one, and the notes in."""
    known = readable(results / "manifest.json")
    if known is None:
        return
    gone = {path.relative_to(results).as_posix() for each in found.files.values() for path in each}
    files = []
    for entry in known["files"]:
        name = "/".join(Path(entry["file"]).parts[-5:])  # EXP/nN/RUN/snapshots/FILE
        if name not in gone:
            files.append(entry)
        folder = "/".join(Path(entry["file"]).parts[-4:-1])
        if entry["file"] == entry["record"] and folder in found.files:  # its run.json
            note = provenance.entry(results / folder / CLEANED)
            path = Path(entry["file"]).with_name(CLEANED)
            files.append({**note, "file": str(path), "record": entry["record"]})
    write_json(results / "manifest.json", {**known, "files": files})


@contextlib.contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Keep every Snakemake out of the results folder."""
    if not results.is_dir():
        raise UserError(f"There is no folder {results}. Name a results folder, such as results.")
    with contextlib.ExitStack() as stack:
        for name in (".lock", ".lock-finished"):
            try:
                stack.enter_context(FileLock(results / name, timeout=0))
            except Timeout:
                raise UserError(
                    f"A Snakemake is at work in {results}. Nothing was deleted: wait until it has "
                    "finished."
                ) from None
        yield
