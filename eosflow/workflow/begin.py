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

from eosflow.storage.errors import UserError
from eosflow.workflow.command_line import exit_on_user_error
from eosflow.workflow.locks import hold_results
from eosflow.workflow.plan import Plan
from eosflow.workflow.status import CONFIGURATION, Status

STATUS_SECONDS = 30.0
SHOWN = 4  # runs in training
_HELD: list[AbstractContextManager[object]] = []  # they last as long as this process


@exit_on_user_error
def begin(plan: Plan, quiet: bool = False) -> None:
    """Lock the results folder, note the configuration in it, and tell how the runs get on.

    Raises: UserError where another Snakemake works there.
    """
    _HELD.append(hold_results(plan.results))
    plan.write(plan.file)
    plan.write(Path(plan.results, CONFIGURATION))
    if not quiet:
        threading.Thread(target=_tell, args=(Path(plan.results),), daemon=True).start()


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
