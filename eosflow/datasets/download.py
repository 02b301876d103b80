"""Downloads of archives: resumed, verified, and under their final names only if complete."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests
from filelock import FileLock

from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Archive
from eosflow.datasets.mirror import in_mirror, listed_sha256
from eosflow.datasets.transfer import (
    Patience,
    SourceError,
    open_session,
    read_small,
    receive,
    record_of,
)
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, replacing, set_aside, write_json
from eosflow.storage.files import sha256 as sha256_of

log = logging.getLogger(__name__)

BY_HAND = "put there by hand"
AGAIN = "Start the workflow again: the archive is fetched again."


class Checksum(NamedTuple):
    """The SHA-256 `digest` that a file must have, and whose word that is."""

    digest: str
    origin: str


def fetch(
    archive: Archive,
    output: Path,
    mirror: str | None = None,
    sha256: str | None = None,
    patience: Patience | None = None,
) -> dict[str, Any]:
    """Fetch `archive` to `output` and its record to `output`.json; returns the record.

    From the official host or, with a `mirror` (a folder or a base URL), from there alone. `sha256`
    counts before any other checksum. What was received stays in `output`.partial, from which the
    next call goes on. Of several calls at once one fetches.

    Raises: UserError with what the source answered and what can be done.
    """
    patience = patience or Patience()
    source = archive.url if mirror is None else in_mirror(mirror, archive.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    with FileLock(f"{output}.lock"), open_session(patience) as session:
        try:
            checksum = _known_checksum(archive, sha256)
            if mirror is not None and sha256 is None:
                listed = in_mirror(mirror, "SHA256SUMS")
                checksum = _listed(session, patience, listed, archive.name) or checksum
            if output.exists():
                log.info("%s is already there", output)
                with contextlib.suppress(SourceError):  # it was moved aside, as the log says
                    return _verify_there(archive, output, checksum)
            receive(session, patience, source, archive.name, partial)
            digest = _verify(partial, checksum)
        except SourceError as failure:
            remedy = (
                f"Put {archive.name} there"
                if mirror
                else "If this machine cannot reach the official host, fetch it elsewhere from "
                f"{archive.url}, put it in a folder and set `mirror` to that folder (or to a base "
                "URL)"
            )
            raise UserError(
                f"{archive.name} could not be fetched: {failure}.\n{remedy}, or put it at "
                f"{output}, where it is verified before it is used. The next start continues the "
                "download."
            ) from failure
        with replacing(output) as temporary:
            partial.replace(temporary)
        record_of(partial).unlink(missing_ok=True)
        return _write_record(archive, output, source, checksum, digest)


@contextlib.contextmanager
def verified(archive: Archive, path: Path, sha256: str | None = None) -> Iterator[None]:
    """Read an archive inside, which may have been put at `path` by hand, only if it is genuine.

    It is what its record vouches for or, without one, is verified now. One that fails, or that
    turns out damaged inside, is moved aside, so that the next start of the workflow fetches it.

    Raises: UserError
    """
    try:
        with FileLock(f"{path}.lock"):
            record = readable(record_of(path))
            if record and sha256 is None:
                _verify(path, Checksum(record["sha256"], "its record"))
            else:
                _verify_there(archive, path, _known_checksum(archive, sha256))
    except SourceError as failure:
        raise UserError(f"{path}: {failure}. {AGAIN}") from failure
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}). Move away what is there, if anything. "
            f"{AGAIN}"
        ) from error
    try:
        yield
    except UnfitArchive as failure:
        _move_aside(path, "content")
        raise UserError(f"{failure}. It was moved aside. {AGAIN}") from failure


def _known_checksum(archive: Archive, sha256: str | None) -> Checksum | None:
    """That of the config or, without one, of the official archive; None if neither is known."""
    if sha256 is not None:
        return Checksum(sha256.lower(), "the config")
    return Checksum(archive.sha256, "the official archive") if archive.sha256 else None


def _listed(
    session: requests.Session, patience: Patience, source: str, name: str
) -> Checksum | None:
    """That of a file in a mirror's SHA256SUMS, if it is listed. Raises: SourceError."""
    try:
        digest = listed_sha256(read_small(session, patience, source), name)
    except ValueError as error:
        raise SourceError(f"{source}: {error}") from error
    return Checksum(digest, "the mirror's SHA256SUMS") if digest else None


def _verify_there(archive: Archive, path: Path, checksum: Checksum | None) -> dict[str, Any]:
    """Verify an archive that is at its final place, and write its record. Raises: SourceError."""
    digest = _verify(path, checksum)
    record = readable(record_of(path)) or {}
    source = record["url"] if record.get("sha256") == digest else BY_HAND
    return _write_record(archive, path, source, checksum, digest)


def _verify(path: Path, checksum: Checksum | None) -> str:
    """SHA-256 of a file; one that fails is moved aside. Raises: SourceError."""
    digest = sha256_of(path)
    if checksum is None or digest == checksum.digest:
        return digest
    aside = _move_aside(path, "checksum")
    raise SourceError(
        f"wrong checksum: SHA-256 is {digest}, expected {checksum.digest} ({checksum.origin}); the "
        f"file was moved aside to {aside}. If it is the one that is meant, its SHA-256 belongs "
        "below `checksums` in the config"
    )


def _move_aside(path: Path, why: str) -> Path | None:
    """With what is known of it, which is true no more."""
    record_of(path).unlink(missing_ok=True)
    return set_aside(path, why)


def _write_record(
    archive: Archive, output: Path, source: str, checksum: Checksum | None, digest: str
) -> dict[str, Any]:
    if checksum is None:
        log.warning(
            "warning: no checksum is known for %s from %s; its SHA-256 is %s. Its content is "
            "checked when it is read.",
            archive.name,
            source,
            digest,
        )
    else:
        log.info("%s: verified, sha256 of %s", output.name, checksum.origin)
    record = {
        "file": archive.name,
        "url": source,
        "bytes": output.stat().st_size,
        "sha256": digest,
        "verified": checksum and f"sha256 of {checksum.origin}",
        "official": digest == archive.sha256,
    }
    write_json(record_of(output), record)
    return record
