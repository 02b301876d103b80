"""Draw the contact sheet of a subset: its first examples, class by class."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.analysis import style
from eosflow.results.figures import drawing, examples
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--subset", type=Path, required=True, help=".npz that scripts/subset.py made"
    )
    parser.add_argument("--output", type=Path, required=True, help=".png; a .pdf is put beside it")
    arguments = parser.parse_args()
    with style.applied():
        figure = examples.sheet(arguments.subset)
    drawing.save(figure, arguments.output.with_suffix(".pdf"), arguments.output)


if __name__ == "__main__":
    command_line.run(main)
