"""The start of Snakemake's work: the lock, a record of the configuration, progress.

A Snakefile that uses the workflow as a module calls `begin` itself: Snakemake calls the handlers of
the main Snakefile alone.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.storage.errors import UserError
from eosflow.storage.files import remove_leftovers
from eosflow.storage.locks import LOCK
from eosflow.workflow.command_line import exit_on_user_error
from eosflow.workflow.plan import Plan
from eosflow.workflow.status import CONFIGURATION, Status

# Seconds to wait for the results folder, whose lock `eosflow status` takes for an instant to look.
PATIENCE = 0.5
# Seconds after which a temporary file is nobody's any more, and where such files lie.
LEFT_OVER = 3600.0
MADE = ("data", "figures", "measurements", "provenance", "studies")
STATUS_SECONDS = 30.0
SHOWN = 4  # runs in training
_HELD: list[AbstractContextManager[object]] = []  # they last as long as this process


@exit_on_user_error
def begin(plan: Plan, quiet: bool = False) -> None:
    """Lock the results folder, note the configuration in it, and tell how the runs get on.

    Raises: UserError where another Snakemake works there.
    """
    _HELD.append(hold_results(Path(plan.results)))
    plan.write(plan.file)
    plan.write(Path(plan.results, CONFIGURATION))
    if not quiet:
        threading.Thread(target=_tell, args=(Path(plan.results),), daemon=True).start()


def hold_results(results: Path) -> AbstractContextManager[object]:
    """Keep every other Snakemake, and `eosflow clean`, out of a results folder.

    As long as what is returned is kept, or used in `with`. The lock is the kernel's, so that it
    never outlives its process, however that ends. What killed processes left is removed.

    Raises: UserError where another process holds it.
    """
    results.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(results / LOCK, timeout=PATIENCE).acquire()
    except Timeout:
        raise UserError(
            f"Another Snakemake, or `eosflow clean`, is working in {results}, and nothing was "
            "changed. Wait until it has finished, or choose another folder with --config "
            "results_dir=FOLDER."
        ) from None
    # Jobs that outlived a killed Snakemake may be writing here; those of runs clean up alone.
    below = (folder for name in MADE for folder in (results / name).glob("**/"))
    for folder in (results, *below):
        remove_leftovers(folder, older_than=LEFT_OVER)
    return lock


def _tell(results: Path) -> None:
    """Now and then a line for some of the runs in training, and how many there are."""
    while True:
        time.sleep(STATUS_SECONDS)
        with contextlib.suppress(UserError):  # someone has taken the folder away
            runs = Status.of(results).runs
            training = [run for run in runs if run.state == "training"]
            trained = sum(run.seconds is not None for run in runs)
            count = f"{trained} of {len(runs)} runs are trained, {len(training)} in training"
            for line in [*(run.line() for run in training[:SHOWN]), count] if training else ():
                print(f"eosflow: {line}", file=sys.stderr, flush=True)
