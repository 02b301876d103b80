"""Keep the evidence of finished runs in a few small files, and redraw everything from them."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.results import archive
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep", help="take the evidence out of a results folder")
    keep.add_argument("results", type=Path, help="folder of all results, finished")
    keep.add_argument("folder", type=Path, help="output: new, empty, or of an earlier keep")
    redraw = commands.add_parser("redraw", help="make figures, tables and report of kept evidence")
    redraw.add_argument("folder", type=Path, help="folder that keep has written")
    redraw.add_argument("output", type=Path, help="output: new, empty, or of an earlier redraw")
    retable = commands.add_parser("retable", help="make the tables of kept evidence anew")
    retable.add_argument("folder", type=Path, help="folder that keep has written")
    arguments = parser.parse_args()
    if arguments.command == "keep":
        archive.keep(arguments.results, arguments.folder)
    elif arguments.command == "retable":
        archive.retable(arguments.folder)
    else:
        archive.redraw(arguments.folder, arguments.output)


if __name__ == "__main__":
    command_line.run(main)
