"""Make the table of a study that is made of runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eosflow.results import manifest, tables
from eosflow.results.collect import study_run
from eosflow.runs.names import place_of
from eosflow.storage import provenance
from eosflow.storage.files import read_json
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=OF_RUNS)
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument(
        "--runs", type=json.loads, required=True, help='JSON: {"EXP/nN/RUN": ["MEASUREMENT", …]}'
    )
    parser.add_argument("--output", type=Path, required=True, help=".csv")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    measured = {arguments.results / run: names for run, names in arguments.runs.items()}
    lists = []
    for folder, names in measured.items():
        manifest.verify_runs([folder], [place_of(name) for name in names])
        indices = [folder / place_of(name) / "index.json" for name in names]
        lists += [folder / "manifest.json", *indices]
    runs = [study_run(folder, names) for folder, names in measured.items()]
    table = STUDIES[arguments.name].table(runs)
    tables.write_csv(table, arguments.output)
    provenance.seal(
        arguments.record,
        [arguments.output],
        sources=lists,
        runs=manifest.of_runs(read_json(folder / "run.json") for folder in measured),
        packages=["pandas", "pyarrow"],
    )


if __name__ == "__main__":
    command_line.run(main)
