"""Gather the records of all runs into two tidy tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.results import manifest, tables
from eosflow.results.collect import collect
from eosflow.storage import provenance
from eosflow.storage.files import read_json
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--runs", nargs="+", required=True, help="EXP/nN/RUN of each run")
    parser.add_argument(
        "--undecomposed", nargs="*", default=[], help="those of the runs without a decomposition"
    )
    parser.add_argument("--decomposition", type=Path, required=True, help="output: .parquet")
    parser.add_argument("--table", type=Path, required=True, help="output: .parquet, row per run")
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    folders = [arguments.results / run for run in arguments.runs]
    without = [arguments.results / run for run in arguments.undecomposed]
    decomposed = [folder for folder in folders if folder not in without]
    manifest.verify_runs(decomposed)
    manifest.verify_runs(without, places=())
    decomposition, runs = collect(folders, without)
    tables.write_parquet(decomposition, arguments.decomposition)
    tables.write_parquet(runs, arguments.table)
    provenance.seal(
        arguments.record,
        [arguments.decomposition, arguments.table],
        sources=[folder / "decomposition" / "index.json" for folder in decomposed],
        runs=manifest.of_runs(read_json(folder / "run.json") for folder in folders),
        packages=["pandas", "pyarrow"],
    )


if __name__ == "__main__":
    command_line.run(main)
