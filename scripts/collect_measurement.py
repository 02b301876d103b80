"""Gather one measurement of all runs into a tidy table."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.results import manifest, tables
from eosflow.results.collect import collect_measurement
from eosflow.storage import provenance
from eosflow.storage.files import read_json
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the measurement; its files lie in RUN/measurements/NAME")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--runs", nargs="+", required=True, help="EXP/nN/RUN of each run")
    parser.add_argument("--output", type=Path, required=True, help=".parquet, row per snapshot")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    folders = [arguments.results / run for run in arguments.runs]
    place = f"measurements/{arguments.name}"
    manifest.verify_runs(folders, [place])
    tables.write_parquet(collect_measurement(folders, place), arguments.output)
    provenance.seal(
        arguments.record,
        [arguments.output],
        sources=[folder / place / "index.json" for folder in folders],
        runs=manifest.of_runs(read_json(folder / "run.json") for folder in folders),
        packages=["pandas", "pyarrow"],
    )


if __name__ == "__main__":
    command_line.run(main)
