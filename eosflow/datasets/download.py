"""Downloads of archives: resumed, verified, and under their final names only if complete."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Archive
from eosflow.datasets.checksums import (
    Checksum,
    in_mirror,
    known_checksum,
    mirrors_checksum,
    put_aside,
    verify,
)
from eosflow.datasets.links import refusal
from eosflow.datasets.transfer import Patience, SourceError, notes_of, open_session, receive
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, replacing, write_json
from eosflow.storage.files import sha256 as file_sha256

log = logging.getLogger(__name__)

BY_HAND = "put there by hand"
AGAIN = "Start the workflow again: the archive is fetched again."


def fetch(
    archive: Archive,
    output: Path,
    mirror: str | None = None,
    sha256: str | None = None,
    patience: Patience | None = None,
) -> dict[str, Any]:
    """Fetch `archive` to `output` and its record to `output`.json; returns the record.

    From the official hosts in turn or, with a `mirror` (a folder or a base URL), from there alone.
    `sha256` counts before any other checksum. What was received stays in `output`.partial, from
    which the next call goes on. Of several calls at once one fetches.

    Raises: UserError with what each source answered and what can be done.
    """
    patience = patience or Patience()
    if mirror is not None and (unusable := refusal(mirror)):
        raise UserError(unusable)
    sources = archive.urls if mirror is None else (in_mirror(mirror, archive.name),)
    output.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with FileLock(output.with_name(output.name + ".lock")), open_session(patience) as session:
        try:
            checksum = known_checksum(archive, sha256)
            if mirror is not None and sha256 is None:
                listed = mirrors_checksum(session, patience, mirror, archive.name)
                checksum = listed or checksum
        except SourceError as failure:
            raise _unobtainable(archive, output, mirror, [str(failure)]) from failure
        if output.exists():
            log.info("%s is already there", output)
            try:
                digest = verify(output, checksum)
                return _write_record(archive, output, _known_source(output), checksum, digest)
            except SourceError as failure:
                log.warning("%s: %s; it is fetched again", output, failure)
        for source in sources:
            try:
                partial = receive(session, patience, source, archive, output)
                digest = verify(partial, checksum)
            except SourceError as failure:
                log.warning("%s", failure)
                failures.append(str(failure))
                continue
            with replacing(output) as temporary:
                partial.replace(temporary)
            notes_of(partial).unlink(missing_ok=True)
            return _write_record(archive, output, source, checksum, digest)
    raise _unobtainable(archive, output, mirror, failures)


@contextlib.contextmanager
def verified(archive: Archive, path: Path, sha256: str | None = None) -> Iterator[None]:
    """Read an archive inside, which may have been put at `path` by hand, only if it is genuine.

    It is what `fetch` has verified, or it is verified now. One that fails, or that turns out
    damaged inside, is put aside, so that the next start of the workflow fetches it again.

    Raises: UserError
    """
    try:
        with FileLock(path.with_name(path.name + ".lock")):
            _verify_once(archive, path, sha256)
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there; start again to have it fetched.") from error
    except SourceError as failure:
        raise UserError(f"{path}: {failure}. {AGAIN}") from failure
    except UnfitArchive as failure:
        # Another job may have put it aside just now.
        aside = f"It was put aside as {put_aside(path)}. " if path.exists() else ""
        raise UserError(f"{failure}. {aside}{AGAIN}") from failure


def _verify_once(archive: Archive, path: Path, sha256: str | None) -> None:
    if path.stat().st_size > archive.size_limit:
        raise SourceError(
            f"it has {path.stat().st_size} bytes, the published one less than "
            f"{archive.size_limit}; it was put aside as {put_aside(path)}"
        )
    record = readable(path.with_name(path.name + ".json")) or {}
    fetched = file_sha256(path) == record.get("sha256")
    if fetched and sha256 is None:
        return
    checksum = known_checksum(archive, sha256)
    digest = verify(path, checksum)
    _write_record(archive, path, _known_source(path) if fetched else BY_HAND, checksum, digest)


def _known_source(output: Path) -> str:
    record = readable(output.with_name(output.name + ".json")) or {}
    return str(record.get("url", BY_HAND))


def _unobtainable(
    archive: Archive, output: Path, mirror: str | None, failures: list[str]
) -> UserError:
    answers = "".join(f"\n  {failure}" for failure in failures)
    remedy = (
        f"Put {archive.name} there"
        if mirror
        else "If this machine cannot reach the official hosts, fetch it elsewhere from "
        f"{archive.urls[0]}, put it in a folder and set `mirror` to that folder (or to a base URL)"
    )
    return UserError(
        f"{archive.name} could not be fetched:{answers}\n{remedy}, or put it at {output}, where it "
        "is verified before it is used. The next start continues the download."
    )


def _write_record(
    archive: Archive,
    output: Path,
    source: str,
    checksum: Checksum | None,
    digest: str,
) -> dict[str, Any]:
    official = digest == archive.sha256
    verified = "identical to the official archive" if official else None
    if checksum is not None:
        verified = f"sha256 of {checksum.origin}"
    if verified:
        log.info("%s: verified, %s", output.name, verified)
    else:
        log.warning(
            "warning: no checksum is known for %s from %s; its SHA-256 is %s. Its content is "
            "checked when it is read.",
            archive.name,
            source,
            digest,
        )
    record = {
        "file": archive.name,
        "url": source,
        "bytes": output.stat().st_size,
        "sha256": digest,
        "verified": verified,
        "official": official,
    }
    write_json(output.with_name(output.name + ".json"), record)
    return record
