"""Bring the records of runs made by version 0.1 into the form that this version reads.

No number changes and nothing is trained: each run.json, manifest.json and checkpoint gets the
specification in its new form, and the key that belongs to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="folder of all results, such as results/demo")
    arguments = parser.parse_args()
    from eosflow.runs.migrate import migrate  # costs seconds: torch

    rewritten, current = migrate(arguments.results)
    print(f"{rewritten} runs rewritten, {current} were in the new form already.")


if __name__ == "__main__":
    command_line.run(main)
