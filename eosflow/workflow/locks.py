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


def at_work(folder: Path) -> str | None:
    """What a job does in a run's folder now: `training`, `measuring`, or None.

    The kernel knows: a lock ends with its process, however that ends. Looking takes a shared lock
    for an instant; a job that begins in it waits that long.
    """
    if is_held(folder.parent / f".{folder.name}.lock"):
        return "training"
    places = folder.parent.glob(f".{folder.name}.*.lock")
    return "measuring" if any(map(is_held, places)) else None


def is_held(path: Path) -> bool:
    """Whether another process holds a lock file alone."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


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
