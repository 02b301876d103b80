"""What each rule's job does: `python scripts/job.py NAME PLAN [WORD …]`.

PLAN is the file in which the workflow has written its plan, and the words are the rule's wildcards.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path

from eosflow.workflow import command_line, result_jobs, run_jobs
from eosflow.workflow.job import Job
from eosflow.workflow.plan import Plan

JOBS: dict[str, Callable[[Job], None]] = {
    name: each
    for module in (run_jobs, result_jobs)
    for name, each in vars(module).items()
    if inspect.isfunction(each) and each.__module__ == module.__name__ and name[0] != "_"
}


def start() -> None:
    """The entry point of scripts/job.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=JOBS)
    parser.add_argument("plan", type=Path, help="where the workflow has written its plan")
    parser.add_argument("words", nargs="*", help="the wildcards of the rule")
    parser.add_argument("--gpus", type=int, default=0, help="how many to hold; 0: use the CPU")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()

    def main() -> None:
        plan = Plan.read(given.plan)
        JOBS[given.name](Job(plan, tuple(given.words), given.gpus, given.threads))

    command_line.run(main)
