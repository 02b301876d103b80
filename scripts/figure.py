"""Draw one figure as PDF and PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from eosflow import cli, figures, provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="such as figure04 or power-law")
    parser.add_argument("--decomposition", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--dice-subset", type=Path, help="Dice images, for figure 5")
    parser.add_argument("--against", default="iteration", help="iteration or flow_time")
    parser.add_argument("--source-record", type=Path, required=True, help="origin of the inputs")
    parser.add_argument("--pdf", type=Path, required=True, help="output")
    parser.add_argument("--png", type=Path, required=True, help="output")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    provenance.verify(arguments.source_record)
    drawing = figures.draw(
        arguments.name,
        pd.read_parquet(arguments.decomposition),
        pd.read_parquet(arguments.runs),
        arguments.dice_subset,
        arguments.against,
    )
    figures.save(drawing, arguments.pdf, arguments.png)
    made = [arguments.pdf, arguments.png]
    packages = ["pandas", "matplotlib"]
    provenance.seal(arguments.record, made, [arguments.source_record], packages=packages)


if __name__ == "__main__":
    cli.run(main)
