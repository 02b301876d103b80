"""Bytes from an address or a file into a partial file: streamed, retried, resumed."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from eosflow.datasets.base import Archive
from eosflow.datasets.links import is_url
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, write_json
from eosflow.storage.progress import count_progress

log = logging.getLogger(__name__)

CHUNK = 2**16  # bytes read at once, at most
BUSY = (429, 500, 502, 503, 504)  # answers that may differ a moment later
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The range of bytes that an answer holds.
_RANGE = re.compile(r"bytes (?P<first>\d{1,18})-\d{1,18}/(?P<total>\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True)
class Patience:
    """How long a host is waited for: seconds, and attempts in a row that bring nothing.

    Each `window` of seconds must bring `rate` bytes a second: a host that sends a byte now and then
    never times out.
    """

    connect: float = 10.0
    read: float = 60.0
    attempts: int = 5
    backoff: float = 1.0  # seconds before the second attempt; doubles with each
    rate: float = 4096.0
    window: float = 60.0

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for each read."""
        return self.connect, self.read


class SourceError(Exception):
    """One source did not give the archive; another one may."""


# What a request may raise that a later one need not.
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
# Those of them that every later one raises too: a certificate, an address, endless redirects.
HOPELESS = (
    requests.exceptions.SSLError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.TooManyRedirects,
)


def open_session(patience: Patience) -> requests.Session:
    """A session that repeats requests which the server was too busy to answer."""
    session = requests.Session()
    # Broken connections are retried by `receive`, which resumes.
    retry = Retry(
        total=None,
        connect=0,
        read=0,
        other=0,
        redirect=5,
        status=patience.attempts,
        status_forcelist=BUSY,
        backoff_factor=patience.backoff,
        retry_after_max=60,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["Accept-Encoding"] = "identity"  # byte ranges count the archive's own bytes
    return session


def chunks_of(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it comes. Raises: one of BROKEN, also if it comes too slowly."""
    start, count = time.monotonic(), 0
    while chunk := response.raw.read1(CHUNK):
        yield chunk
        count += len(chunk)
        if (seconds := time.monotonic() - start) > patience.window:
            if count < patience.rate * seconds:
                raise requests.Timeout(f"less than {patience.rate:.0f} bytes a second")
            start, count = time.monotonic(), 0


def notes_of(partial: Path) -> Path:
    """Where the source and version of a partial file are written down."""
    return partial.with_name(partial.name + ".json")


def receive(
    session: requests.Session, patience: Patience, source: str, archive: Archive, output: Path
) -> Path:
    """Bring the whole of `source` into the partial file, whose path is returned."""
    partial = output.with_name(output.name + ".partial")
    log.info("%s: from %s", archive.name, source)
    if not is_url(source):
        _copy(Path(source), archive, partial)
        return partial
    idle = 0  # attempts in a row that brought nothing
    while True:
        before = _size(partial)
        try:
            _download(session, patience, source, archive, partial)
            return partial
        except HOPELESS as error:
            raise SourceError(f"{source}: {reason_of(error)}") from error
        except BROKEN as error:
            idle = 0 if _size(partial) > before + patience.rate else idle + 1
            if idle >= patience.attempts:
                raise SourceError(
                    f"{source}: {reason_of(error)}, {idle} times in a row; "
                    f"{_size(partial)} bytes are kept in {partial}"
                ) from error
            pause = patience.backoff * 2.0**idle
            log.warning("%s: %s; again in %.1f s", source, reason_of(error), pause)
            time.sleep(pause)


def _copy(source: Path, archive: Archive, partial: Path) -> None:
    _discard(partial)
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            _append(iter(lambda: file.read(CHUNK), b""), partial, archive, size)
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror}") from error


def _download(
    session: requests.Session, patience: Patience, url: str, archive: Archive, partial: Path
) -> None:
    """One request for what is still missing; appends to the partial file."""
    notes = readable(notes_of(partial)) or {}
    if notes.get("url") != url:  # of another or an unknown source
        _discard(partial)
    have = _size(partial)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and notes.get("version"):
        headers["If-Range"] = notes["version"]
    with closing(
        session.get(url, headers=headers, stream=True, timeout=patience.timeout)
    ) as response:
        part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = int(part["total"]) if part and part["total"] != "*" else None
        same = total is None or total == notes.get("total", total)
        if response.status_code == 206 and part and int(part["first"]) == have and same:
            log.info("%s: resumed at %d bytes", archive.name, have)
            if total is None and (length := _length(url, response)) is not None:
                total = have + length
        elif response.status_code == 200:
            if have:
                log.info("%s: the server cannot resume this file; from the start", archive.name)
            _discard(partial)
            total = _length(url, response)
            notes = {"url": url, "version": _version(response), "total": total}
            write_json(notes_of(partial), notes)
        elif response.status_code in (206, 416):  # not the range asked for: what is here is wrong
            _discard(partial)
            raise requests.ConnectionError("the server does not have the range asked for")
        else:
            raise SourceError(f"{url}: answered {response.status_code} {response.reason}")
        _append(chunks_of(response, patience), partial, archive, total)
    if total is not None and _size(partial) != total:
        size = _size(partial)
        if size > total:
            _discard(partial)
        raise requests.ConnectionError(f"{size} bytes came of {total}")


def _length(url: str, response: requests.Response) -> int | None:
    """The size that an answer promises, if it does. Raises: SourceError if it is no number."""
    length = response.headers.get("Content-Length")
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise SourceError(f"{url}: answered with {length!r:.40} as the size, which is none")
    return None if length is None else int(length)


def _version(response: requests.Response) -> str | None:
    """What identifies this version of the file in a later If-Range, if the server says."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _append(chunks: Iterator[bytes], partial: Path, archive: Archive, total: int | None) -> None:
    have = _size(partial)
    _check_size(archive, total or 0)
    progress = count_progress(archive.name, total, "B", have)
    try:
        with _room_for(partial, total), partial.open("ab") as file:
            for chunk in chunks:
                have += len(chunk)
                _check_size(archive, have)
                file.write(chunk)
                progress.update(len(chunk))
    finally:
        progress.close()


def _check_size(archive: Archive, size: int) -> None:
    if size > archive.size_limit:
        raise SourceError(
            f"{archive.name} has {size} bytes or more, the published one less than "
            f"{archive.size_limit}: this is another file"
        )


@contextmanager
def _room_for(partial: Path, total: int | None) -> Iterator[None]:
    """Say what to do if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        free = shutil.disk_usage(partial.parent).free
        need = f"{total} bytes are needed, " if total else ""
        raise UserError(
            f"the disk is full: {partial.parent} has {free} bytes left, {need}and {partial} keeps "
            "what was received. Make room, or set `results_dir` to another disk, and start again: "
            "the download goes on where it stopped."
        ) from error


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    notes_of(partial).unlink(missing_ok=True)


def reason_of(error: Exception) -> str:
    """What went wrong with a request, in a few words."""
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"its certificate is not trusted ({error}). If it is one of your own network, name the "
            "file of its certificates in the environment variable REQUESTS_CA_BUNDLE"
        )
    if "bytes a second" in str(error):
        return f"too slow, {error}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection broke"
    return f"no connection ({error})"
