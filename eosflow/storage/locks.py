"""Locks of the kernel's, which end with their holder, however that ends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"  # in the folder that it is for: all results, or one run

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only one to work in a run's folder: wait for its lock, and hold it.

    A job that outlived a killed Snakemake still holds it, so that its successor waits instead of
    writing the same files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process works in %s: waiting until it ends", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether another process holds the lock of a folder; looking takes it for an instant."""
    path = folder / LOCK
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0, mode=0o666):
            return False
    except Timeout:
        return True
