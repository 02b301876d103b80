"""Delete the weight snapshots of measured runs; everything else stays."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from eosflow.runs import whole
from eosflow.runs.names import RUNS, run_folders
from eosflow.runs.records import Cleaned, Manifest, Snapshot
from eosflow.storage.errors import UserError
from eosflow.storage.locks import alone_in, is_held
from eosflow.workflow.begin import hold_results
from eosflow.workflow.plan import Recorded
from eosflow.workflow.status import CONFIGURATION

CUT_OFF = "it stopped at stop.max_iterations and could continue with a larger limit"
NAMELESS = "it is in no configuration"


@dataclass
class Freeable:
    """What can be deleted: the snapshots of each run, and why other runs are left whole."""

    results: Path
    files: dict[str, list[Snapshot]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(entry.bytes for entries in self.files.values() for entry in entries)

    def in_words(self) -> str:
        """What `eosflow clean` prints before it deletes anything."""
        count = sum(map(len, self.files.values()))
        lines = [
            f"{self.results}: {count} weight snapshots of {len(self.files)} runs, "
            f"{tqdm.format_sizeof(self.bytes, 'B')}, can be deleted."
        ]
        for reason, number in Counter(self.kept.values()).items():
            such = next(run for run, why in self.kept.items() if why == reason)
            lines.append(f"Left whole: {number} such as {such}: {reason}.")
        nameless = [run for run, why in self.kept.items() if why == NAMELESS]
        lines += [f"{run}: delete this folder if you do not need the run." for run in nameless]
        lines.append(
            "Tables, figures, report, frames, records and trajectories stay, and so do subsets and "
            "archives. A new measurement would train the runs again."
        )
        return "\n".join(lines)


def freeable(results: Path) -> Freeable:
    """The snapshots of runs that are finished and measured, and nothing that is not known.

    Raises: UserError if there are no runs, or it is not known what is to be measured of them.
    """
    wanted = _wanted(results)
    free = Freeable(results)
    for home in run_folders(results):
        name = f"{RUNS}/{home.name}"
        if home.name not in wanted:
            free.kept[name] = NAMELESS
        elif why := why_not(home, wanted[home.name]):
            free.kept[name] = why
        elif there := _there(home):
            free.files[name] = there
    if not free.kept and not free.files and not wanted:
        raise UserError(f"{results} holds no runs. Name a results folder, such as results/demo.")
    return free


def _wanted(results: Path) -> dict[str, set[str]]:
    """The folders of all measurements of each run, by key, that any configuration here asks for."""
    wanted: dict[str, set[str]] = {}
    records = [results / CONFIGURATION, *sorted((results / "logs/configurations").glob("*.json"))]
    for path in records:
        try:
            record = Recorded.read(path)
            for folder, key in record.runs.items():
                wanted.setdefault(key, set()).update(record.measurements[folder].values())
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{path} cannot be read ({error!r}), so it is not known what is still to be "
                "measured. Nothing was deleted: start the workflow once, which writes it, or "
                "delete it if it is of a configuration that you do not use any more."
            ) from None
    return wanted


def why_not(home: Path, folders: Collection[str]) -> str:
    """Why the snapshots of a run must stay; empty if they need not.

    Every byte of its records, its trajectory and of what is measured in `folders` is read.
    """
    manifest, damages = whole.of_run(home, home.name, deep=True, weights=False)
    if damages or manifest is None:
        return f"it is not finished, or damaged: {damages[0].path.name} ({damages[0].why})"
    if manifest.stopped == "max_iterations":
        return CUT_OFF
    if not folders:
        return "its measurements are not known"
    for folder in folders:
        for damage in whole.of_measurement(home / folder, manifest, deep=True):
            return f"{folder} is not whole: {damage.path.name} ({damage.why})"
    return ""


def _there(home: Path) -> list[Snapshot]:
    snapshots = Manifest.read(home / "manifest.json").snapshots
    return [entry for entry in snapshots if (home / entry.file).is_file()]


def clean(results: Path) -> Freeable:
    """Delete what `freeable` finds, and note it in each run's folder.

    Raises: UserError if a Snakemake or one of its jobs is at work there.
    """
    with hold_results(results):
        free = freeable(results)
        busy = [run for run in free.files if is_held(results / run)]
        if busy:
            raise UserError(
                f"A job still runs in {results / busy[0]}, without Snakemake. Nothing was "
                "deleted: wait until it ends."
            )
        size = free.bytes
        for run in free.files:
            with alone_in(results / run):
                _delete(results / run)
    print(f"{tqdm.format_sizeof(size, 'B')} were freed in {results}.")
    return free


def discard(home: Path, folders: Sequence[str]) -> None:
    """Delete the snapshots of one run of which all is measured, as `keep_snapshots: false` asks.

    Killed at any moment, it is done again from the start. A run that was cut off keeps its
    snapshots, for it goes on from them; the note in its folder then lists none.

    Raises: UserError, before anything is deleted, if a measurement is missing or damaged.
    """
    with alone_in(home):
        reason = why_not(home, folders)
        if reason not in ("", CUT_OFF):
            raise UserError(
                f"The snapshots of {home} cannot be deleted yet: {reason}. Nothing was deleted. "
                "Start the workflow again: what is missing is made again."
            )
        if reason:
            Cleaned(snapshots=()).write(home / whole.CLEANED)
        else:
            _delete(home)


def _delete(home: Path) -> None:
    """Delete a run's snapshots; the note comes first, so that none is ever missed unexplained."""
    entries = Manifest.read(home / "manifest.json").snapshots
    files = [entry.file for entry in entries if entry.file.startswith("snapshots/")]
    Cleaned(snapshots=tuple(files)).write(home / whole.CLEANED)
    for file in files:
        (home / file).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else lies there
        (home / "snapshots").rmdir()
