"""Put the studies on one page, without the experiments of the paper."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eosflow.results import studies_page
from eosflow.storage import provenance
from eosflow.studies import STUDIES
from eosflow.workflow import command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, required=True)
    parser.add_argument(
        "--runs", type=json.loads, required=True, help='JSON: {"STUDY": ["EXP/nN/RUN", …]}'
    )
    parser.add_argument("--sources", type=Path, nargs="+", required=True, help="their origins")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--made-of", nargs="*", default=[], help="specifications of the runs that it may tell of"
    )
    parser.add_argument("--record", type=Path, required=True, help="output: origin, .json")
    arguments = parser.parse_args()
    for source in arguments.sources:
        provenance.verify(source, *arguments.made_of)
    studies_page.render(arguments.results, arguments.studies, arguments.runs, arguments.output)
    provenance.seal(
        arguments.record,
        [arguments.output],
        arguments.sources,
        packages=["pandas", "jinja2"],
    )


if __name__ == "__main__":
    command_line.run(main)
