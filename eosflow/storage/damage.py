"""Notes beside a list of files: which of them a job found damaged, or were deleted on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eosflow.storage.files import read_json, write_json

DAMAGED = "damaged.json"
# In a run's folder: `eosflow clean` has deleted the snapshots. Whoever trains the run removes it.
CLEANED = "cleaned.json"


def note_damage(folder: Path, files: Iterable[str], reason: str) -> None:
    """Note in `folder`/damaged.json that files are damaged whose checksums a list there holds.

    `files` are named relative to `folder`; those of an earlier note stay in it. The next start of
    the workflow sees the note and has the files made again; whoever makes them removes the note.
    Nothing is deleted: another job may be reading the same folder.
    """
    named = sorted(noted(folder).union(files))
    write_json(folder / DAMAGED, {"files": named, "reason": reason})


def noted(folder: Path) -> frozenset[str]:
    """The files that a note in `folder` calls damaged; empty without a note."""
    try:
        return frozenset(read_json(folder / DAMAGED)["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return frozenset()
