"""Bytes from an address or a file into a partial file: streamed, retried, resumed."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import signal
import threading
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

CHUNK = 2**13  # bytes; a broken connection loses the chunk that was under way
BUSY = (429, 500, 502, 503, 504)  # answers that may differ a moment later
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# The range of bytes that an answer holds.
_RANGE = re.compile(r"bytes (?P<first>\d{1,18})-\d{1,18}/(?P<total>\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True)
class Patience:
    """How long a host is waited for: seconds, and attempts in a row that bring nothing."""

    connect: float = 10.0
    read: float = 60.0
    attempts: int = 5
    backoff: float = 1.0  # seconds before the second attempt; doubles with each
    # An attempt must bring so many bytes a second in each window: a host that sends a byte now and
    # then would never time out.
    rate: float = 4096.0
    window: float = 60.0


class SourceError(Exception):
    """One source did not give the archive; another one may."""


class TooSlow(Exception):
    """A host sends so little that it would never be done; no OSError, which urllib3 would wrap."""


# What a request may raise that a later one need not.
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, TooSlow)
# Those of them that every later one raises too: a certificate, an address, endless redirects.
HOPELESS = (
    requests.exceptions.SSLError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.TooManyRedirects,
)


@dataclass(frozen=True)
class Session:
    """An HTTP session that waits out busy answers, and its patience."""

    http: requests.Session
    patience: Patience

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for each read."""
        return self.patience.connect, self.patience.read

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


@contextmanager
def in_time(patience: Patience, partial: Path | None = None) -> Iterator[None]:
    """Give up what is done inside if `partial` does not grow as it should; without it, at the end
    of the first window.

    Of no effect outside the main thread, for it takes an alarm.

    Raises: TooSlow
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _size(partial) if partial else 0

    def ring(*_: object) -> None:
        nonlocal before
        now = _size(partial) if partial else 0
        if now - before < patience.rate * patience.window:
            raise TooSlow(f"less than {patience.rate:.0f} bytes a second")
        before = now

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, patience.window, patience.window)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def open_session(patience: Patience | None) -> Session:
    """A session that repeats requests which the server was too busy to answer."""
    patience = patience or Patience()
    http = requests.Session()
    # Broken connections are not retried here but in `_download`, which resumes.
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
        http.mount(scheme, HTTPAdapter(max_retries=retry))
    http.headers["Accept-Encoding"] = "identity"  # byte ranges count the archive's own bytes
    return Session(http, patience)


def notes_of(partial: Path) -> Path:
    """Where the source and version of a partial file are written down."""
    return partial.with_name(partial.name + ".json")


def receive(session: Session, source: str, archive: Archive, output: Path) -> Path:
    """Bring the whole of `source` into the partial file, whose path is returned."""
    partial = output.with_name(output.name + ".partial")
    log.info("%s: from %s", archive.name, source)
    if not is_url(source):
        path = Path(source)
        if not os.path.isfile(path):  # noqa: PTH113  (this never raises)
            raise SourceError(f"{path}: there is no such file")
        _discard(partial)
        try:
            file = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from error
        with file:
            chunks = iter(lambda: file.read(CHUNK), b"")
            _append(chunks, partial, archive, path.stat().st_size)
        return partial

    idle = 0  # attempts in a row that brought nothing
    while True:
        before = _size(partial)
        try:
            with in_time(session.patience, partial):
                _download(session, source, archive, partial)
            return partial
        except HOPELESS as error:
            raise SourceError(f"{source}: {reason_of(error)}") from error
        except BROKEN as error:
            slow = isinstance(error, TooSlow)
            idle = 0 if _size(partial) > before and not slow else idle + 1
            if idle >= session.patience.attempts:
                raise SourceError(
                    f"{source}: {reason_of(error)}, {idle} times in a row; "
                    f"{_size(partial)} bytes are kept in {partial}"
                ) from error
            pause = session.patience.backoff * 2.0**idle
            log.warning("%s: %s; again in %.1f s", source, reason_of(error), pause)
            time.sleep(pause)


def _download(session: Session, url: str, archive: Archive, partial: Path) -> None:
    """One request for what is still missing; appends to the partial file."""
    notes = readable(notes_of(partial)) or {}
    if notes.get("url") != url:  # of another or an unknown source
        _discard(partial)
    have = _size(partial)
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if notes.get("version"):
            headers["If-Range"] = notes["version"]
    with closing(
        session.http.get(url, headers=headers, stream=True, timeout=session.timeout)
    ) as response:
        part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = int(part["total"]) if part and part["total"] != "*" else None
        whole = total is None or total == notes.get("total", total)
        if response.status_code == 206 and part and int(part["first"]) == have and whole:
            log.info("%s: resumed at %d bytes", archive.name, have)
            if total is None and (length := _length(url, response)) is not None:
                total = have + length
        elif response.status_code == 200:
            if have:
                log.info("%s: the server cannot resume this file; from the start", archive.name)
            _discard(partial)
            have = 0
            total = _length(url, response)
            version = _version(response)
            write_json(notes_of(partial), {"url": url, "version": version, "total": total})
        elif response.status_code in (206, 416):  # not the range asked for: what is here is wrong
            _discard(partial)
            raise requests.ConnectionError("the server does not have the range asked for")
        else:
            raise SourceError(f"{url}: answered {response.status_code} {response.reason}")
        _append(response.iter_content(CHUNK), partial, archive, total)
        if total is not None and _size(partial) < total:
            raise requests.ConnectionError(f"{_size(partial)} of {total} bytes came")
        if total is not None and _size(partial) > total:
            _discard(partial)
            raise requests.ConnectionError(f"more than the {total} bytes came that it has")


def _length(url: str, response: requests.Response) -> int | None:
    """The size that an answer promises, if it does. Raises: SourceError where it is no number."""
    length = response.headers.get("Content-Length")
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise SourceError(f"{url}: answered with {length!r:.40} as the size, which is none")
    return None if length is None else int(length)


def _append(chunks: Iterator[bytes], partial: Path, archive: Archive, total: int | None) -> None:
    have = _size(partial)
    if total is not None and total > archive.size_limit:
        raise _too_large(archive, total)
    progress = count_progress(archive.name, total, "B", have)
    try:
        with partial.open("ab") as file:
            for chunk in chunks:
                have += len(chunk)
                if have > archive.size_limit:
                    raise _too_large(archive, have)
                file.write(chunk)
                progress.update(len(chunk))
    except BROKEN:  # some are OSErrors too, but of the network
        raise
    except OSError as error:
        raise _no_room(error, partial, total) from error
    finally:
        progress.close()


def _too_large(archive: Archive, size: int) -> SourceError:
    return SourceError(
        f"{archive.name} has {size} bytes or more, the published one less than "
        f"{archive.size_limit}: this is another file"
    )


def _no_room(error: OSError, partial: Path, total: int | None) -> BaseException:
    if error.errno not in DISK_FULL:
        return error
    free = shutil.disk_usage(partial.parent).free
    need = f"{total} bytes are needed, " if total else ""
    return UserError(
        f"the disk is full: {partial.parent} has {free} bytes left, {need}and {partial} keeps what "
        "was received. Make room, or set `results_dir` to another disk, and start again: the "
        "download goes on where it stopped."
    )


def _version(response: requests.Response) -> str | None:
    """What identifies this version of the file in a later If-Range, if the server says."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    notes_of(partial).unlink(missing_ok=True)


def reason_of(error: Exception) -> str:
    """What went wrong with a request, in a few words."""
    if isinstance(error, TooSlow):
        return f"too slow, {error}"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"its certificate is not trusted ({error}). If it is one of your own network, name the "
            "file of its certificates in the environment variable REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return f"no connection ({error})"
