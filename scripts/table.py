"""Make one of the paper's tables, or the check of its claims, out of the tidy tables."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from eosflow.results import claims, tables
from eosflow.storage import provenance
from eosflow.workflow import command_line

CAPTIONS = {
    "table1": "The experiments and what they cost.",
    "table2": "Power law of the peak alignment, beside the paper's.",
    "alignment": "Alignment from one N to the next, at its peak and at equal training loss.",
    "table3": "Parameters of the Dice images.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*CAPTIONS, "claims"])
    parser.add_argument("--decomposition", type=Path, help="from scripts/collect.py")
    parser.add_argument("--runs", type=Path, help="from scripts/collect.py")
    parser.add_argument("--parameters", type=Path, help="from scripts/dice_parameters.py")
    parser.add_argument("--source-record", type=Path, required=True, help="origin of the inputs")
    parser.add_argument("--csv", type=Path, required=True, help="output")
    parser.add_argument("--latex", type=Path, help="output")
    parser.add_argument("--made-of", help="the specification of the runs that it must be made of")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    provenance.verify(arguments.source_record, arguments.made_of)
    match arguments.name:
        case "table1":
            table = tables.table1(pd.read_parquet(arguments.runs))
        case "table2":
            frames = (arguments.decomposition, arguments.runs)
            table = tables.table2(*map(pd.read_parquet, frames))
        case "alignment":
            frames = (arguments.decomposition, arguments.runs)
            table = tables.alignment(*map(pd.read_parquet, frames))
        case "table3":
            table = tables.table3(pd.read_parquet(arguments.parameters))
        case _:
            frames = (arguments.decomposition, arguments.runs)
            table = claims.check(*map(pd.read_parquet, frames))
    tables.write_csv(table, arguments.csv)
    made = [arguments.csv]
    if arguments.latex is not None:
        caption = CAPTIONS[arguments.name]
        titles = tables.given_titles(pd.read_parquet(arguments.runs)) if arguments.runs else {}
        tables.write_latex(table, arguments.latex, caption, f"tab:{arguments.name}", titles)
        made.append(arguments.latex)
    packages = ["pandas", "statsmodels"]
    provenance.seal(arguments.record, made, [arguments.source_record], packages=packages)


if __name__ == "__main__":
    command_line.run(main)
