"""Notes beside a list of files: which of them a job found damaged, or were deleted on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eosflow.storage.files import read_json, readable, write_json

DAMAGED = "damaged.json"
# In a run's folder: which snapshots were deleted, when all was measured of them. It may list none,
# for a run that could go on. Whoever trains the run removes it.
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


def deleted(folder: Path) -> bool:
    """Whether snapshots of the run in a folder were deleted on purpose.

    A note that cannot be read is taken for one of deleted snapshots.
    """
    if not (folder / CLEANED).exists():
        return False
    note = readable(folder / CLEANED)
    return note is None or bool(note.get("snapshots", True))
