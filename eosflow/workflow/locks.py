"""Locks that die with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only one to work in a run's folder: wait for its lock, and hold it.

    A job that outlived a killed Snakemake still holds it, so that its successor waits instead of
    writing the same files.
    """
    with _held(folder, ""):
        yield


@contextlib.contextmanager
def measuring_in(folder: Path, place: str) -> Iterator[None]:
    """Be the only one to measure in a place below a run's folder, and let nobody train the run.

    Several measurements of one run may go side by side, each in its place.
    """
    with _held(folder, "", shared=True), _held(folder, f".{place.replace('/', '-')}"):
        yield


@contextlib.contextmanager
def _held(folder: Path, part: str, shared: bool = False) -> Iterator[None]:
    """Hold a lock of the kernel's, by a file beside the folder, which may be moved meanwhile."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    file = os.open(folder.parent / f".{folder.name}{part}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process works in %s: waiting until it ends", folder)
            fcntl.flock(file, kind)
        yield
    finally:
        os.close(file)
