"""Judge the statements of a study's source by the study's table."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from eosflow.results import tables
from eosflow.storage import provenance
from eosflow.studies import JUDGED, STUDIES
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=JUDGED)
    parser.add_argument("--table", type=Path, required=True, help="the study's table")
    parser.add_argument("--source-record", type=Path, required=True, help="origin of the table")
    parser.add_argument(
        "--made-of", nargs="*", default=[], help="specifications of the runs that it may tell of"
    )
    parser.add_argument("--output", type=Path, required=True, help=".csv")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    provenance.verify(arguments.source_record, *arguments.made_of)
    table = STUDIES[arguments.name].judge(pd.read_csv(arguments.table))
    tables.write_csv(table, arguments.output)
    sources = [arguments.source_record]
    provenance.seal(arguments.record, [arguments.output], sources, packages=["pandas"])


if __name__ == "__main__":
    command_line.run(main)
