"""Fetch a dataset's archive from its official host or a mirror, and verify it."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.datasets import ARCHIVES
from eosflow.datasets.download import fetch
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive-name", choices=ARCHIVES, required=True)
    parser.add_argument("--mirror", help="folder or base URL that holds the archive by its name")
    parser.add_argument("--sha256", help="what the archive must hash to, if known better")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    archive = ARCHIVES[arguments.archive_name]
    fetch(archive, arguments.output, arguments.mirror, arguments.sha256)


if __name__ == "__main__":
    command_line.run(main)
