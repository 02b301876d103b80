"""Draw one figure as PDF and PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from eosflow.results import figures
from eosflow.storage import provenance
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="such as figure04, power-law or EXP-sharpness")
    parser.add_argument("--decomposition", type=Path, help="from scripts/collect.py")
    parser.add_argument("--runs", type=Path, help="from scripts/collect.py")
    parser.add_argument("--data", type=Path, help="Dice images for figure 5; a study's table")
    parser.add_argument("--against", default="iteration", help="iteration or flow_time")
    parser.add_argument("--source-record", type=Path, help="origin of the tables")
    parser.add_argument("--pdf", type=Path, required=True, help="output")
    parser.add_argument("--png", type=Path, required=True, help="output")
    parser.add_argument(
        "--made-of", nargs="*", default=[], help="specifications of the runs that it may tell of"
    )
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    # A Dice subset, which figure 5 is drawn from, has no record of that kind.
    source = arguments.source_record or arguments.data
    if arguments.source_record:
        provenance.verify(arguments.source_record, *arguments.made_of)
    drawing = figures.draw(
        arguments.name,
        frame(arguments.decomposition),
        frame(arguments.runs),
        arguments.data,
        arguments.against,
    )
    figures.save(drawing, arguments.pdf, arguments.png)
    made = [arguments.pdf, arguments.png]
    packages = ["pandas", "matplotlib", "seaborn"]
    provenance.seal(arguments.record, made, [source], packages=packages)


def frame(path: Path | None) -> pd.DataFrame:
    """A tidy table; without rows for a figure that is drawn from none."""
    return pd.DataFrame() if path is None else pd.read_parquet(path)


if __name__ == "__main__":
    command_line.run(main)
