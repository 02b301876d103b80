"""Locks that die with their holder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.storage.errors import UserError
from eosflow.storage.files import remove_leftovers
from eosflow.studies import STUDIES

# Seconds to wait for the results folder, whose lock `eosflow status` takes for an instant to look.
PATIENCE = 0.5
# Seconds after which a temporary file of a table is nobody's any more, and where such files lie.
LEFT_OVER = 3600.0
_STUDIES = tuple(f"studies/{name}" for name in STUDIES)
_PLACES = (".", "figures", "measurements", "data", "data/subsets", *_STUDIES)

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


def hold_results(results: str, finished_only: bool) -> FileLock:
    """Keep a second Snakemake out of a results folder for as long as the returned lock is kept.

    The lock is the kernel's, so that it never outlives its process, however that ends. With
    `finished_only` no run is touched, and so it may work beside one that trains. What killed
    processes left half written is removed.

    Raises: UserError where another process holds it.
    """
    path = Path(results, ".lock-finished" if finished_only else ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"Another Snakemake is working in {results}. Wait until it has finished, or choose "
            "another folder with --config results_dir=FOLDER."
        ) from None
    # Jobs that outlived a killed Snakemake may be writing here; those of runs clean up alone.
    for place in (*_PLACES, "provenance", *(f"provenance/{place}" for place in _PLACES)):
        remove_leftovers(Path(results, place), older_than=LEFT_OVER)
    return lock
