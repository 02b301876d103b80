"""The lock of a results folder, released when its process dies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.storage.errors import UserError
from eosflow.storage.files import remove_leftovers
from eosflow.studies import STUDIES

WORKING = ".lock"
# Seconds to wait for the results folder, whose lock `eosflow status` takes for an instant to look.
PATIENCE = 0.5
# Seconds after which a temporary file of a table is nobody's any more, and where such files lie.
LEFT_OVER = 3600.0
_STUDIES = tuple(f"studies/{name}" for name in STUDIES)
_FOLDERS = (".", "figures", "measurements", "data", "data/subsets", *_STUDIES)


def hold_results(results: Path | str) -> AbstractContextManager[object]:
    """Keep every other Snakemake, and `eosflow clean`, out of a results folder.

    As long as what is returned is kept, or used in `with`. The lock is the kernel's, so that it
    never outlives its process, however that ends. What killed processes left is removed.

    Raises: UserError where another process holds it.
    """
    path = Path(results, WORKING)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, timeout=PATIENCE).acquire()
    except Timeout:
        raise UserError(
            f"Another Snakemake, or `eosflow clean`, is working in {results}, and nothing was "
            "changed. Wait until it has finished, or choose another folder with --config "
            "results_dir=FOLDER."
        ) from None
    # Jobs that outlived a killed Snakemake may be writing here; those of runs clean up alone.
    for folder in (*_FOLDERS, "provenance", *(f"provenance/{folder}" for folder in _FOLDERS)):
        remove_leftovers(Path(results, folder), older_than=LEFT_OVER)
    return lock
