"""Locks that die with their holder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only one to work in `folder`: wait for its lock, and hold it.

    The lock lies beside the folder, which may be moved away meanwhile. A job that outlived a killed
    Snakemake still holds it, so that its successor waits instead of writing the same files.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process works in %s: waiting until it ends", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
