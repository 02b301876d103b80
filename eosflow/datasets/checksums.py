"""The checksums of archives, and where they come from."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import requests

from eosflow.datasets.base import Archive
from eosflow.datasets.links import is_url
from eosflow.datasets.transfer import BROKEN, Patience, SourceError, chunks_of, notes_of, reason_of
from eosflow.storage.files import sha256 as sha256_of

SUMS_LIMIT = 2**20  # bytes
# As sha256sum writes it, with an asterisk for a file read as binary; and as `sha256sum --tag`.
GNU_LINE = re.compile(r"\\?(?P<digest>[0-9A-Fa-f]{64}) [ *]?(?P<name>\S.*)")
BSD_LINE = re.compile(r"SHA256 ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9A-Fa-f]{64})")


@dataclass(frozen=True)
class Checksum:
    """The SHA-256 `digest` that a file must have, and whose word that is."""

    digest: str
    origin: str


def known_checksum(archive: Archive, sha256: str | None) -> Checksum | None:
    """That of the config or, without one, of the official archive; None if neither is known."""
    if sha256 is not None:
        return Checksum(sha256.lower(), "the config")
    return Checksum(archive.sha256, "the official archive") if archive.sha256 else None


def mirrors_checksum(
    session: requests.Session, patience: Patience, mirror: str, name: str
) -> Checksum | None:
    """That of a file in a mirror's SHA256SUMS, if it is listed. Raises: SourceError"""
    source = in_mirror(mirror, "SHA256SUMS")
    content = _read(session, patience, source)
    if len(content) > SUMS_LIMIT:
        raise SourceError(f"{source} has more than {SUMS_LIMIT} bytes: it is no list of checksums")
    listed: dict[str, str] = {}
    lines = content.decode("utf-8-sig", "replace").splitlines()
    for number, line in enumerate(map(str.rstrip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        entry = GNU_LINE.fullmatch(line) or BSD_LINE.fullmatch(line)
        if entry is None:
            raise SourceError(
                f"{source}, line {number} is {line!r:.60}, and not a SHA-256 of 64 hexadecimal "
                "digits with a name, as sha256sum writes it. Mend that file, or remove it"
            )
        file, digest = entry["name"].removeprefix("./"), entry["digest"].lower()
        if listed.setdefault(file, digest) != digest:
            raise SourceError(f"{source} has two checksums of {file}. Remove the wrong one")
    return Checksum(listed[name], "the mirror's SHA256SUMS") if name in listed else None


def in_mirror(mirror: str, name: str) -> str:
    """The address or path of a file in a mirror."""
    return f"{mirror.rstrip('/')}/{name}" if is_url(mirror) else str(Path(mirror) / name)


def _read(session: requests.Session, patience: Patience, source: str) -> bytes:
    """The list, or one byte more than is allowed; empty if there is none."""
    content = b""
    try:
        if not is_url(source):
            with Path(source).open("rb") as file:
                return file.read(SUMS_LIMIT + 1)
        with closing(session.get(source, timeout=patience.timeout, stream=True)) as answer:
            if answer.status_code == 404:
                return b""
            if answer.status_code != 200:
                raise SourceError(f"{source}: answered {answer.status_code} {answer.reason}")
            for chunk in chunks_of(answer, patience):
                content += chunk
                if len(content) > SUMS_LIMIT:
                    break
        return content
    except FileNotFoundError:
        return b""
    except BROKEN as error:
        raise SourceError(f"{source}: {reason_of(error)}") from error
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror}") from error


def verify(path: Path, checksum: Checksum | None) -> str:
    """SHA-256 of the file; one that fails is put aside. Raises: SourceError"""
    digest = sha256_of(path)
    if checksum is None or digest == checksum.digest:
        return digest
    raise SourceError(
        f"wrong checksum: SHA-256 is {digest}, expected {checksum.digest} ({checksum.origin}); the "
        f"file was put aside as {put_aside(path)}. If it is the one that is meant, its SHA-256 "
        "belongs below `checksums` in the config"
    )


def put_aside(path: Path) -> Path:
    """Rename a file that is not what it should be, and forget where it came from."""
    refused = path.with_name(path.name.removesuffix(".partial") + ".refused")
    path.replace(refused)
    notes_of(path).unlink(missing_ok=True)
    return refused
