"""List all results with their checksums and origins."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.results import manifest
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--runs", nargs="+", required=True, help="EXP/nN/RUN of each run")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    manifest.results_manifest(arguments.results, arguments.runs, arguments.output)


if __name__ == "__main__":
    command_line.run(main)
