"""Draw one subset of a dataset and write it, with its record, as results/data/subsets/*.npz."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eosflow.datasets import DATASETS, Resources
from eosflow.datasets.subsets import write_subset
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as in the config")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, required=True, help="rows, the largest N that is used")
    parser.add_argument("--archive", type=Path, help="where scripts/fetch.py put it")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; only SST uses it")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    write_subset(
        DATASETS[arguments.dataset],
        arguments.dataset,
        arguments.settings,
        arguments.seed,
        arguments.size,
        Resources(
            archive=arguments.archive,
            cache=arguments.output.parent.parent / "embeddings",
            device=arguments.device,
        ),
        arguments.output,
    )


if __name__ == "__main__":
    command_line.run(main)
