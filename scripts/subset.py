"""Draw one subset of a dataset and write it, with its record, as results/data/subsets/*.npz."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from eosflow.datasets import DATASETS, DatasetSettings, Resources
from eosflow.datasets.download import verified
from eosflow.datasets.subsets import write_subset
from eosflow.storage.settings import from_record
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="its name in the config")
    parser.add_argument(
        "--settings",
        type=settings,
        required=True,
        help=f"JSON: `name`, one of {', '.join(DATASETS)}, and the settings of that kind",
    )
    parser.add_argument("--seed", type=int, help="without: held-out examples, of the test split")
    parser.add_argument("--size", type=int, required=True, help="rows, the largest N that is used")
    parser.add_argument("--archive", type=Path, help="where scripts/fetch.py put it")
    parser.add_argument("--sha256", help="what the archive must hash to, if known better")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; only SST uses it")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    resources = Resources(
        archive=arguments.archive,
        cache=arguments.output.parent.parent / "embeddings",
        device=arguments.device,
    )
    with contextlib.ExitStack() as whole:
        for archive in arguments.settings.facts.archives:
            if arguments.archive:
                whole.enter_context(verified(archive, arguments.archive, arguments.sha256))
        write_subset(
            arguments.dataset,
            arguments.settings,
            arguments.seed,
            arguments.size,
            resources,
            arguments.output,
        )


def settings(text: str) -> DatasetSettings:
    """The dataset that the JSON describes, as `eosflow.storage.settings.record` gives it."""
    try:
        return from_record(DATASETS, json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text} describes no dataset ({error}); expected JSON with `name`, one of "
            f"{', '.join(DATASETS)}, and the settings of that kind"
        ) from error


if __name__ == "__main__":
    command_line.run(main)
