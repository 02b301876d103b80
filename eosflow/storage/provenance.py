"""Which program made a result, out of what, and whether it is still what was made."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eosflow import __version__
from eosflow.storage.digests import digest
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
    """Versions of what determines the numbers, of further packages, and the commit."""
    return {
        "eosflow": __version__,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "numpy": importlib.metadata.version("numpy"),
        **{name: importlib.metadata.version(name) for name in packages},
        "commit": commit(),
    }


def of_runs(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the run.json records of several runs say in common: one list of values a fact.

    Returns: `runs` (how many), `specification` (digest of all their keys), `device`, `threads`, and
    for each of their versions the values that occur.
    """
    records = list(records)
    found = sorted({name for record in records for name in record["versions"]})
    return {
        "runs": len(records),
        "specification": digest(sorted(record["key"] for record in records)),
        "device": _distinct(record["device"] for record in records),
        "threads": _distinct(record["threads"] for record in records),
        "versions": {
            name: _distinct(record["versions"].get(name) for record in records) for name in found
        },
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values), key=str)


def seal(
    record: Path,
    made: Sequence[Path],
    sources: Sequence[Path] = (),
    runs: Mapping[str, Any] | None = None,
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """Write down what was made, out of which files, of which runs, by which program.

    `runs` is what `of_runs` returns; without it, it is taken over from the first source record
    (a .json among `sources`) that has it. What was made is named relative to the record, so that
    both can be moved together. Returns: the record.
    """
    for source in sources:
        if runs is None and source.suffix == ".json":
            runs = read_json(source).get("runs")
    content = {
        "made": [_entry(path) | {"file": os.path.relpath(path, record.parent)} for path in made],
        "sources": [_entry(path) for path in sources],
        "runs": runs,
        "versions": versions(*packages),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
    write_json(record, content)
    return content


def verify(record: Path) -> None:
    """Compare the files that a record tells of with their checksums.

    A damaged one is removed, so that the workflow makes it again.

    Raises: UserError naming the file.
    """
    try:
        entries = _made(record)
    except (OSError, ValueError, KeyError):
        record.unlink(missing_ok=True)
        raise UserError(
            f"{record} was damaged and has been removed. Start the workflow again: it is made anew."
        ) from None
    for path, checksum in entries:
        if path.is_file() and sha256(path) == checksum:
            continue
        path.unlink(missing_ok=True)
        raise UserError(
            f"{path} is damaged: its contents do not match the checksum in {record}. It has been "
            "removed. Start the workflow again: it is made anew."
        )


def _made(record: Path) -> list[tuple[Path, str]]:
    """The files that a record tells of, and their checksums."""
    entries = read_json(record)["made"]
    return [
        (Path(os.path.normpath(record.parent / entry["file"])), entry["sha256"])
        for entry in entries
    ]


def verify_runs(folders: Iterable[Path]) -> None:
    """Compare the trajectory and the decompositions of each run with their checksums.

    Where one is damaged, the list that vouches for it is removed too, so that the workflow makes
    it again: the index.json of the run's decompositions and, for the trajectory, the manifest.json.

    Raises: UserError naming all damaged files.
    """
    damaged: list[Path] = []
    for folder in folders:
        manifest, index = folder / "manifest.json", folder / "decomposition" / "index.json"
        trajectory = _damaged(manifest, lambda content: [content["trajectory"]])
        parts = _damaged(index, lambda content: content["snapshots"])
        # The index goes in both cases: Snakemake makes no missing manifest of a complete run.
        removed = [*trajectory, *parts, index] if trajectory or parts else []
        removed += [manifest] if trajectory else []
        for path in removed:
            path.unlink(missing_ok=True)
        damaged += trajectory + parts
    if damaged:
        raise UserError(
            "These files are missing or do not match their checksums, and have been removed:\n  "
            + "\n  ".join(map(str, damaged))
            + "\nStart the workflow again: they are made anew."
        )


def _damaged(record: Path, entries: Callable[[Any], list[dict[str, Any]]]) -> list[Path]:
    try:
        listed = entries(read_json(record))
    except (OSError, ValueError, KeyError, TypeError):
        return [record]
    paths = [(record.parent / entry["file"], entry["sha256"]) for entry in listed]
    return [path for path, expected in paths if not path.is_file() or sha256(path) != expected]


def _entry(path: Path) -> dict[str, Any]:
    return {"file": str(path), "sha256": sha256(path), "bytes": path.stat().st_size}


def results_manifest(results: Path, runs: Iterable[str], manifest: Path) -> None:
    """List every file of the results with its checksum and the record that tells its origin.

    Snapshots and decompositions come with the checksums taken when they were written; reading
    hundreds of gigabytes again is left to `sha256sum`.
    """
    files: list[dict[str, Any]] = []
    for record in sorted((results / "provenance").rglob("*.json")):
        for path, _ in _made(record):
            if not path.is_file():
                raise UserError(
                    f"{path} is missing, of which {record} tells. Remove that record and start the "
                    "workflow again: both are made anew."
                )
            files.append({**_entry(path), "record": str(record)})
    for path in sorted((results / "data" / "subsets").glob("*")):
        if path.suffix in (".npz", ".json"):
            files.append({**_entry(path), "record": str(path.with_suffix(".json"))})
    for run in runs:
        files.extend(_files_of_run(results / run))
    content = {"eosflow": __version__, "commit": commit(), "files": files}
    write_json(manifest, content)


def _files_of_run(folder: Path) -> list[dict[str, Any]]:
    record, manifest = folder / "run.json", read_json(folder / "manifest.json")
    index = folder / "decomposition" / "index.json"
    listed = [
        *((folder / entry["file"], entry) for entry in manifest["snapshots"]),
        (folder / manifest["trajectory"]["file"], manifest["trajectory"]),
        *((index.parent / entry["file"], entry) for entry in read_json(index)["snapshots"]),
    ]
    known = [
        {"file": str(path), "sha256": entry["sha256"], "bytes": path.stat().st_size}
        for path, entry in listed
    ]
    own = [_entry(path) for path in (record, folder / "manifest.json", index)]
    return [{**entry, "record": str(record)} for entry in (*own, *known)]
