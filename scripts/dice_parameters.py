"""Write the drawn parameters of every Dice image, the source of Table 3."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eosflow.datasets import dice
from eosflow.storage import provenance
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as in the config")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    dice.write_parameters(dice.Dice(**arguments.settings), arguments.output)
    provenance.seal(arguments.record, [arguments.output], packages=["pyarrow"])


if __name__ == "__main__":
    command_line.run(main)
