"""Files that are either whole or absent, and records that tell when they were changed since."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# The first line of a record is its seal: the checksum of the lines below it.
CHECKSUM, MARK = "checksum", "sha256 of the lines below"
LARGEST = 100_000_000  # bytes of a record; those of the longest runs have a hundredth of it


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`.

    A crash, a full disk or an exception leaves the old file, or none, but never half a file.

    Raises: OSError of the file system; the temporary file is removed then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results are shared, so follow the user's umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove temporary files that killed processes left in a folder, so many seconds ago or more.

    For whoever knows that nobody else is writing there, or waits long enough to be sure.
    """
    for path in folder.glob(".*.partial*"):
        with contextlib.suppress(FileNotFoundError):  # whose owner has come to its end meanwhile
            if time.time() - path.stat().st_mtime >= older_than:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, record: dict[str, Any]) -> None:
    """Write a record to `path` atomically as indented JSON, with a checksum in its first line.

    Raises: ValueError if a number is not finite: JSON has no word for it.
    """
    lines = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)[1:]
    lines = lines.removeprefix("\n") + "\n"
    write_text(path, f"{_seal(lines.encode())}{',' if record else ''}\n{lines}")


def read_json(path: Path | str) -> dict[str, Any]:
    """The record in the JSON file `path`, compared with its seal, which is left out.

    Raises: FileNotFoundError; ValueError if it was changed since `write_json` wrote it, or if it is
    larger or deeper than any record.
    """
    with Path(path).open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than any record, which has at most {LARGEST} bytes")
    first, _, lines = data.partition(b"\n")
    if first.removesuffix(b",") != _seal(lines).encode():
        raise ValueError("its checksum is missing or does not match: it was changed or cut off")
    try:
        record = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested more deeply than any record") from None
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    del record[CHECKSUM]
    return record


def readable(path: Path | str) -> dict[str, Any] | None:
    """As `read_json`; None if there is no record that can be read and believed."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def set_aside(path: Path, why: str) -> Path | None:
    """Rename a file that cannot be used to `NAME.damaged-WHY`, so that its place is free.

    Returns: where it went; None if nothing is there.
    """
    name = f"{path.name}.damaged-{why}"
    aside, number = path.with_name(name), 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{name}-{number}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    log.warning("%s is damaged (%s) and was moved aside to %s", path, why, aside.name)
    return aside


def _seal(lines: bytes) -> str:
    return f'{{"{CHECKSUM}": "{MARK}: {hashlib.sha256(lines).hexdigest()}"'


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
