"""Which program made a result and from what, and whether the result is still as it was made."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eosflow import __version__
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256, write_json


@functools.cache
def commit() -> str | None:
    """The commit of the source tree this package is run from, with `+changes` if it was edited.

    None where it is installed elsewhere than in a clone, or where git is missing.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of the programs that determine the numbers, of `packages`, and the commit."""
    return {
        "eosflow": __version__,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "numpy": importlib.metadata.version("numpy"),
        **{name: importlib.metadata.version(name) for name in packages},
        "commit": commit(),
    }


def seal(
    record: Path,
    made: Sequence[Path],
    sources: Sequence[Path] = (),
    runs: Mapping[str, Any] | None = None,
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """Write down what was made, from which files and runs, and by which program.

    `runs` says of which runs; where it is not given, it is taken from the first record (a .json
    among `sources`) that has one. Paths of what was made are relative to the record, so that both
    can be moved together. Returns: the record.
    """
    for source in sources:
        if runs is None and source.suffix == ".json":
            runs = read_json(source).get("runs")
    content = {
        "made": [entry(path) | {"file": os.path.relpath(path, record.parent)} for path in made],
        "sources": [entry(path) for path in sources],
        "runs": runs,
        **program(*packages),
    }
    write_json(record, content)
    return content


def program(*packages: str) -> dict[str, Any]:
    """The versions of this program and of `packages`, and the machine it runs on."""
    return {
        "versions": versions(*packages),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }


def verify(record: Path, *specifications: str | None) -> None:
    """Compare the files that a record lists with their checksums.

    A damaged one is removed, so that the workflow makes it again. If they are made of runs, these
    must be of one of the `specifications`, if any are named.

    Raises: UserError naming the file.
    """
    try:
        files = contents(record)
        runs = read_json(record).get("runs")
    except (OSError, ValueError, KeyError):
        record.unlink(missing_ok=True)
        raise UserError(
            f"{record} was damaged and has been removed. Start the workflow again: it is made anew."
        ) from None
    asked_for = list(filter(None, specifications))
    if runs and asked_for and runs.get("specification") not in asked_for:
        raise UserError(
            f"{record} tells of other runs than those asked for: another Snakemake has worked here "
            "meanwhile. Start the workflow again: what is made of these files is made anew."
        )
    for path, checksum in files:
        if path.is_file() and sha256(path) == checksum:
            continue
        path.unlink(missing_ok=True)
        raise UserError(
            f"{path} is damaged: its contents do not match the checksum in {record}. It has been "
            "removed. Start the workflow again: it is made anew."
        )


def contents(record: Path) -> list[tuple[Path, str]]:
    """The files that a record lists, and their checksums."""
    return [
        (Path(os.path.normpath(record.parent / each["file"])), each["sha256"])
        for each in read_json(record)["made"]
    ]


def entry(path: Path) -> dict[str, Any]:
    """How a file is listed: its path as given, its checksum, its size in bytes."""
    return {"file": str(path), "sha256": sha256(path), "bytes": path.stat().st_size}
