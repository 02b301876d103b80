"""Delete the weight snapshots of a run of which all is measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.workflow import command_line
from eosflow.workflow.clean import discard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--measurements", nargs="+", required=True, help="what must have been measured before"
    )
    arguments = parser.parse_args()
    discard(arguments.folder, arguments.measurements)


if __name__ == "__main__":
    command_line.run(main)
