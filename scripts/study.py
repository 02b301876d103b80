"""Make the table of a study, which a figure is drawn from."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from eosflow.results import tables
from eosflow.storage import provenance
from eosflow.studies import STUDIES
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help=".csv")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = STUDIES[arguments.name].rows()
    tables.write_csv(pd.DataFrame(rows), arguments.output)
    provenance.seal(arguments.record, [arguments.output], packages=["scipy", "pandas"])


if __name__ == "__main__":
    command_line.run(main)
