"""Bytes from an address or a file into a partial file: streamed, retried, resumed."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import Retry

from eosflow.datasets.mirror import is_url
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, write_json
from eosflow.storage.progress import count_progress

log = logging.getLogger(__name__)

CHUNK = 2**16  # bytes read at once, at most
BUSY = (429, 500, 502, 503, 504)  # answers that may differ a moment later
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Patience:
    """How long a host is waited for: seconds, and attempts in a row that bring nothing.

    Each `window` of seconds must bring `rate` bytes a second: a host that sends a byte now and then
    never times out.
    """

    timeout: tuple[float, float] = (10.0, 60.0)  # for a connection, for each read
    attempts: int = 5
    backoff: float = 1.0  # seconds before the second attempt; doubles with each
    rate: float = 4096.0
    window: float = 60.0


class SourceError(Exception):
    """The source did not give the archive, or another one."""


def open_session(patience: Patience) -> requests.Session:
    """A session that repeats requests that bring no answer, or that of a busy server."""
    session = requests.Session()
    retry = Retry(
        total=patience.attempts,
        other=0,  # a certificate stays what it is
        status_forcelist=BUSY,
        backoff_factor=patience.backoff,
        retry_after_max=60,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["Accept-Encoding"] = "identity"  # byte ranges count the archive's own bytes
    return session


def read_small(session: requests.Session, patience: Patience, source: str) -> bytes:
    """A small file of a mirror; empty if there is none. Raises: SourceError."""
    try:
        if not is_url(source):
            return Path(source).read_bytes()
        answer = session.get(source, timeout=patience.timeout)
        if answer.status_code == 404:
            return b""
        answer.raise_for_status()
        return answer.content
    except FileNotFoundError:
        return b""
    except OSError as error:  # as requests' own are
        raise SourceError(f"{source}: {_reason(error)}") from error


def record_of(path: Path) -> Path:
    """Where the source of an archive, or the source and version of a part, is written down."""
    return path.with_name(path.name + ".json")


def receive(
    session: requests.Session, patience: Patience, source: str, name: str, partial: Path
) -> None:
    """Bring the whole of `source` into the partial file. Raises: SourceError."""
    log.info("%s: from %s", name, source)
    idle = 0  # attempts in a row that brought nothing
    while True:
        before = _size(partial)
        try:
            if is_url(source):
                _download(session, patience, source, name, partial)
            else:
                record_of(partial).unlink(missing_ok=True)  # which is of another source
                with _room_for(partial, Path(source).stat().st_size):
                    shutil.copyfile(source, partial)
            return
        except OSError as error:  # as requests' own are, after the session's attempts
            raise SourceError(f"{source}: {_reason(error)}") from error
        except HTTPError as error:  # in the midst of an answer
            idle = 0 if _size(partial) > before + patience.rate else idle + 1
            if idle >= patience.attempts:
                raise SourceError(
                    f"{source}: {_reason(error)}, {idle} times in a row; "
                    f"{_size(partial)} bytes are kept in {partial}"
                ) from error
            pause = patience.backoff * 2.0**idle
            log.warning("%s: %s; again in %.1f s", source, _reason(error), pause)
            time.sleep(pause)


def _download(
    session: requests.Session, patience: Patience, url: str, name: str, partial: Path
) -> None:
    """One request for what is still missing; appends to the partial file."""
    notes = readable(record_of(partial)) or {}
    resumable = notes.get("url") == url and notes.get("version")
    have = _size(partial) if resumable else 0
    headers = {"Range": f"bytes={have}-", "If-Range": notes["version"]} if have else {}
    request = session.get(url, headers=headers, stream=True, timeout=patience.timeout)
    with closing(request) as answer:
        part = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status_code == 206 and part:
            log.info("%s: resumed at %d bytes", name, have)
        elif answer.status_code == 200:
            have, total = 0, answer.raw.length_remaining
            partial.unlink(missing_ok=True)
            notes = {"url": url, "version": _version(answer), "total": total}
            write_json(record_of(partial), notes)
        elif answer.status_code in (206, 416):  # not the range asked for: what is here is wrong
            partial.unlink(missing_ok=True)
            raise ProtocolError("the server does not have the range asked for")
        else:
            raise SourceError(f"{url}: answered {answer.status_code} {answer.reason}")
        _append(_chunks(answer, patience), name, partial, have, notes["total"])
    if notes["total"] not in (None, _size(partial)):
        raise ProtocolError(f"{_size(partial)} bytes came of {notes['total']}")


def _version(answer: requests.Response) -> str | None:
    """What identifies this version of the file in a later If-Range, if the server says."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _append(
    chunks: Iterator[bytes], name: str, partial: Path, have: int, total: int | None
) -> None:
    with (
        _room_for(partial, total),
        count_progress(name, total, "B", have) as progress,
        partial.open("ab") as file,
    ):
        for chunk in chunks:
            file.write(chunk)
            progress.update(len(chunk))


def _chunks(answer: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it comes. Raises: HTTPError, also if it comes too slowly."""
    start, count = time.monotonic(), 0
    while chunk := answer.raw.read1(CHUNK):
        yield chunk
        count += len(chunk)
        if (seconds := time.monotonic() - start) > patience.window:
            if count < patience.rate * seconds:
                raise ProtocolError(f"too slow, less than {patience.rate:.0f} bytes a second")
            start, count = time.monotonic(), 0


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


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"its certificate is not trusted ({error}). If it is one of your own network, name the "
            "file of its certificates in the environment variable REQUESTS_CA_BUNDLE"
        )
    return str(error)
