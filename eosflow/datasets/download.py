"""Fetching archives: streamed, resumed, retried, verified, and under their names only if whole."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock

from eosflow.datasets.base import Archive
from eosflow.datasets.transfer import (
    Patience,
    Session,
    SourceError,
    is_url,
    notes_of,
    open_session,
    reason_of,
    receive,
)
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, replacing, write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checksum:
    """What the bytes must hash to, and who says so."""

    algorithm: str
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

    From the official hosts in turn or, where `mirror` (a folder or a base URL) is given, from there
    alone. `sha256`, where given, counts before any other checksum. What has been received stays in
    `output`.partial, from which the next call goes on. Of calls at the same time one fetches.

    Raises: UserError with what each source answered and what can be done.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(output.with_name(output.name + ".lock")), open_session(patience) as session:
        try:
            checksum = _checksum(session, archive, mirror, sha256)
        except SourceError as failure:
            raise _unobtainable(archive, output, mirror, [str(failure)]) from failure
        if output.exists():
            log.info("%s is already there", output)
            try:
                digests = _verify(output, checksum)
            except SourceError as failure:
                raise _unobtainable(archive, output, mirror, [str(failure)]) from failure
            return _write_record(archive, output, _known_source(output), checksum, digests)
        failures = []
        for source in _sources(archive, mirror):
            try:
                partial = receive(session, source, archive, output)
                digests = _verify(partial, checksum)
            except SourceError as failure:
                log.warning("%s", failure)
                failures.append(str(failure))
                continue
            with replacing(output) as temporary:
                partial.replace(temporary)
            notes_of(partial).unlink(missing_ok=True)
            return _write_record(archive, output, source, checksum, digests)
    raise _unobtainable(archive, output, mirror, failures)


def _sources(archive: Archive, mirror: str | None) -> tuple[str, ...]:
    return archive.urls if mirror is None else (_in_mirror(mirror, archive.name),)


def _in_mirror(mirror: str, name: str) -> str:
    return f"{mirror.rstrip('/')}/{name}" if is_url(mirror) else str(Path(mirror) / name)


def _known_source(output: Path) -> str:
    record = output.with_name(output.name + ".json")
    return str(read_json(record)["url"]) if record.exists() else "put there by hand"


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
        f"{archive.name} could not be fetched:{answers}\n{remedy}, or put it at {output}. What was "
        "received is kept, and starting again goes on from it."
    )


# --- checksums --------------------------------------------------------------------------------


def _checksum(
    session: Session, archive: Archive, mirror: str | None, sha256: str | None
) -> Checksum | None:
    """What is known of the bytes to come; a mirror speaks for its own files."""
    if sha256 is not None:
        return Checksum("sha256", sha256.lower(), "the config")
    if mirror is not None:
        listed = _listed(session, mirror).get(archive.name)
        return Checksum("sha256", listed, "the mirror's SHA256SUMS") if listed else None
    if archive.sha256 is not None:
        return Checksum("sha256", archive.sha256, "the official archive")
    return Checksum("md5", archive.md5, "the official archive") if archive.md5 else None


def _listed(session: Session, mirror: str) -> dict[str, str]:
    """name -> SHA-256 of the mirror's SHA256SUMS; empty where there is none."""
    source = _in_mirror(mirror, "SHA256SUMS")
    if not is_url(mirror):
        path = Path(source)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    else:
        try:
            answer = session.http.get(source, timeout=session.timeout)
        except requests.RequestException as error:
            raise SourceError(f"{source}: {reason_of(error)}") from error
        if answer.status_code not in (200, 404):
            raise SourceError(f"{source}: answered {answer.status_code} {answer.reason}")
        text = answer.text if answer.status_code == 200 else ""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    # sha256sum marks a file read as binary with an asterisk
    return {pair[1].lstrip("*").strip(): pair[0].lower() for pair in pairs if len(pair) == 2}


def _verify(path: Path, checksum: Checksum | None) -> dict[str, str]:
    """Digests of the file, which is renamed to .refused if one is not as announced."""
    digests = {}
    for algorithm in ("sha256", "md5"):
        with path.open("rb") as file:
            digests[algorithm] = hashlib.file_digest(file, algorithm).hexdigest()
    if checksum is None or digests[checksum.algorithm] == checksum.digest:
        return digests
    refused = path.with_name(path.name.removesuffix(".partial") + ".refused")
    path.replace(refused)
    notes_of(path).unlink(missing_ok=True)
    raise SourceError(
        f"wrong checksum: {checksum.algorithm} is {digests[checksum.algorithm]}, expected "
        f"{checksum.digest} ({checksum.origin}); the file was put aside as {refused}"
    )


def _write_record(
    archive: Archive,
    output: Path,
    source: str,
    checksum: Checksum | None,
    digests: dict[str, str],
) -> dict[str, Any]:
    official = digests["sha256"] == archive.sha256 or digests["md5"] == archive.md5
    if checksum is not None:
        verified = f"{checksum.algorithm} of {checksum.origin}"
        log.info("%s: verified by the %s", output.name, verified)
    elif official:
        verified = "identical to the official archive"
        log.info("%s: %s", output.name, verified)
    else:
        verified = None
        log.warning(
            "warning: no checksum is known for %s from %s; its SHA-256 is %s. Its content is "
            "checked when it is read.",
            archive.name,
            source,
            digests["sha256"],
        )
    record = {
        "file": archive.name,
        "url": source,
        "bytes": output.stat().st_size,
        "sha256": digests["sha256"],
        "verified": verified,
        "official": official,
    }
    write_json(output.with_name(output.name + ".json"), record)
    return record
