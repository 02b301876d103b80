"""Which program made a result and from what, and whether the result is still as it was made."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eosflow import __version__
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, set_aside, sha256
from eosflow.storage.records import Listed, Record

AGAIN = "Start the workflow again: it is made again."


@functools.cache
def commit() -> str | None:
    """The commit of the source tree this package is run from, with `+changes` if it was edited.

    None if it is installed elsewhere than in a clone, or where git is missing.
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


class Origin(Record):
    """What was made, from which files and runs, and by which program.

    `made` are paths below the results; `made_of` is the digest of all specifications and versions
    behind them, and `sources` has the checksums of what was read, each by its path.
    """

    made_of: str
    made: tuple[Listed, ...]
    sources: dict[str, str]
    runs: dict[str, Any] | None


def seal(
    results: Path,
    record: str,
    made: Sequence[str],
    made_of: str = "",
    sources: Sequence[str] = (),
    runs: Mapping[str, Any] | None = None,
    packages: Sequence[str] = (),
) -> Origin:
    """Write down what was made, from which files and runs, and by which program.

    All paths are below `results`. `runs` says of which runs; if it is not given, it is taken from
    the first record (a .json among `sources`) that has one. Returns: the record.

    Raises: UserError naming a source that is missing.
    """
    checksums = {name: _of_source(results / name) for name in sources}
    for source in sources:
        if runs is None and source.endswith(".json"):
            runs = read_json(results / source).get("runs")
    content = Origin(
        made_of=made_of,
        made=tuple(Listed.of(results, name) for name in made),
        sources=checksums,
        runs=None if runs is None else dict(runs),
        **program(*packages),
    )
    content.write(results / record)
    return content


def _of_source(path: Path) -> str:
    try:
        return sha256(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {AGAIN}") from None


def program(*packages: str) -> dict[str, Any]:
    """The versions of this program and of `packages`, and the machine it runs on."""
    return {
        "versions": versions(*packages),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }


def verify(results: Path, record: str) -> Origin:
    """The record, after comparing the files that it lists with their checksums.

    Raises: UserError, after moving aside what is damaged.
    """
    try:
        origin = Origin.read(results / record)
    except FileNotFoundError:
        raise UserError(f"{results / record} is missing. {AGAIN}") from None
    except ValueError as error:
        set_aside(results / record, "record")
        raise UserError(f"{results / record} is damaged: {error}. {AGAIN}") from None
    for entry in origin.made:
        if why := entry.wrong(results, deep=True):
            set_aside(results / entry.file, why)
            raise UserError(
                f"{results / entry.file} is damaged ({why}): it is not the file that "
                f"{results / record} lists. {AGAIN}"
            )
    return origin
