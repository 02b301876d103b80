"""Fetching archives: streamed, resumed, retried, verified, and under their names only if whole."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Archive
from eosflow.datasets.links import is_url, refusal
from eosflow.datasets.transfer import (
    BROKEN,
    CHUNK,
    Patience,
    Session,
    SourceError,
    in_time,
    notes_of,
    open_session,
    reason_of,
    receive,
)
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, replacing, write_json
from eosflow.storage.files import sha256 as file_sha256

log = logging.getLogger(__name__)

BY_HAND = "put there by hand"
AGAIN = "Start the workflow again: the archive is fetched anew."
SUMS_LIMIT = 2**20  # bytes
# As sha256sum writes it, with an asterisk for a file read as binary; and as `sha256sum --tag`.
GNU_LINE = re.compile(r"\\?(?P<digest>[0-9A-Fa-f]{64}) [ *]?(?P<name>\S.*)")
BSD_LINE = re.compile(r"SHA256 ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9A-Fa-f]{64})")


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
    if mirror is not None and (unusable := refusal(mirror)):
        raise UserError(unusable)
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
                log.warning("%s: %s; it is fetched again", output, failure)
            else:
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
        "is verified before it is used. What was received is kept, and starting again goes on from "
        "it."
    )


@contextlib.contextmanager
def verified(archive: Archive, path: Path, sha256: str | None = None) -> Iterator[None]:
    """Read an archive inside, which may have been put at `path` by hand, only if it is genuine.

    It is what `fetch` has verified, or else it is verified now: by `sha256`, where given, or by the
    official checksum. One that fails, or that turns out damaged inside, is put aside, so that the
    next start of the workflow fetches it again.

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
        if not path.exists():  # another job has just done the same
            raise UserError(f"{failure}. {AGAIN}") from failure
        raise UserError(f"{failure}. It was put aside as {put_aside(path)}. {AGAIN}") from failure


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
    checksum = _known(archive, sha256)
    digests = _verify(path, checksum)
    _write_record(archive, path, _known_source(path) if fetched else BY_HAND, checksum, digests)


# --- checksums --------------------------------------------------------------------------------


def _checksum(
    session: Session, archive: Archive, mirror: str | None, sha256: str | None
) -> Checksum | None:
    """What is known of the bytes to come; a mirror speaks for the files that it lists."""
    if mirror is not None and sha256 is None:
        listed = _listed(session, mirror).get(archive.name)
        if listed:
            return Checksum("sha256", listed, "the mirror's SHA256SUMS")
    return _known(archive, sha256)


def _known(archive: Archive, sha256: str | None) -> Checksum | None:
    if sha256 is not None:
        return Checksum("sha256", sha256.lower(), "the config")
    if archive.sha256 is not None:
        return Checksum("sha256", archive.sha256, "the official archive")
    return Checksum("md5", archive.md5, "the official archive") if archive.md5 else None


def _listed(session: Session, mirror: str) -> dict[str, str]:
    """name -> SHA-256 of the mirror's SHA256SUMS; empty where there is none."""
    source = _in_mirror(mirror, "SHA256SUMS")
    content = _read_sums(session, source) if is_url(mirror) else _sums_in(Path(source))
    if len(content) > SUMS_LIMIT:
        raise SourceError(f"{source} has more than {SUMS_LIMIT} bytes: it is no list of checksums")
    listed: dict[str, str] = {}
    lines = content.decode("utf-8-sig", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = GNU_LINE.fullmatch(line.rstrip()) or BSD_LINE.fullmatch(line.rstrip())
        if found is None:
            raise SourceError(
                f"{source}, line {number} is {line!r:.60}, and not a SHA-256 of 64 hexadecimal "
                "digits with a name, as sha256sum writes it. Mend that file, or remove it"
            )
        name, digest = found["name"].removeprefix("./"), found["digest"].lower()
        if listed.setdefault(name, digest) != digest:
            raise SourceError(f"{source} has two checksums of {name}. Remove the wrong one")
    return listed


def _sums_in(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SUMS_LIMIT + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


def _read_sums(session: Session, source: str) -> bytes:
    try:
        with (
            in_time(session.patience),
            closing(session.http.get(source, timeout=session.timeout, stream=True)) as answer,
        ):
            if answer.status_code == 404:
                return b""
            if answer.status_code != 200:
                raise SourceError(f"{source}: answered {answer.status_code} {answer.reason}")
            content = b""
            for chunk in answer.iter_content(CHUNK):
                content += chunk
                if len(content) > SUMS_LIMIT:
                    break
            return content
    except BROKEN as error:
        raise SourceError(f"{source}: {reason_of(error)}") from error


def _verify(path: Path, checksum: Checksum | None) -> dict[str, str]:
    """Digests of the file, which is renamed to .refused if one is not as announced."""
    digests = {}
    for algorithm in ("sha256", "md5"):
        with path.open("rb") as file:
            digests[algorithm] = hashlib.file_digest(file, algorithm).hexdigest()
    if checksum is None or digests[checksum.algorithm] == checksum.digest:
        return digests
    refused = put_aside(path)
    raise SourceError(
        f"wrong checksum: {checksum.algorithm} is {digests[checksum.algorithm]}, expected "
        f"{checksum.digest} ({checksum.origin}); the file was put aside as {refused}. If it is the "
        f"one that is meant, its SHA-256, {digests['sha256']}, belongs below `checksums` in the "
        "config"
    )


def put_aside(path: Path) -> Path:
    """Rename a file that is not what it should be, and forget where it came from."""
    refused = path.with_name(path.name.removesuffix(".partial") + ".refused")
    path.replace(refused)
    notes_of(path).unlink(missing_ok=True)
    return refused


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
