"""The lock of a results folder, released when its process dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.storage.errors import UserError
from eosflow.storage.files import remove_leftovers
from eosflow.studies import STUDIES

WORKING, FINISHED_ONLY = ".lock", ".lock-finished"
# Seconds to wait for the results folder, whose lock `eosflow status` takes for an instant to look.
PATIENCE = 0.5
# Seconds after which a temporary file of a table is nobody's any more, and where such files lie.
LEFT_OVER = 3600.0
_STUDIES = tuple(f"studies/{name}" for name in STUDIES)
_FOLDERS = (".", "figures", "measurements", "data", "data/subsets", *_STUDIES)


def hold_results(results: str, finished_only: bool) -> FileLock:
    """Keep a second Snakemake out of a results folder for as long as the returned lock is kept.

    The lock is the kernel's, so that it never outlives its process, however that ends. With
    `finished_only` no run is touched, and so it may work beside one that trains. What killed
    processes left half written is removed.

    Raises: UserError where another process holds it.
    """
    path = Path(results, FINISHED_ONLY if finished_only else WORKING)
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
    for folder in (*_FOLDERS, "provenance", *(f"provenance/{folder}" for folder in _FOLDERS)):
        remove_leftovers(Path(results, folder), older_than=LEFT_OVER)
    return lock


@contextlib.contextmanager
def alone_at(results: Path) -> Iterator[None]:
    """Keep every Snakemake out of a results folder. Raises: UserError where one is at work."""
    with contextlib.ExitStack() as stack:
        for name in (WORKING, FINISHED_ONLY):
            try:
                stack.enter_context(FileLock(results / name, timeout=0))
            except Timeout:
                raise UserError(
                    f"Snakemake is running in {results}. Nothing was deleted: wait until it has "
                    "finished."
                ) from None
        yield
