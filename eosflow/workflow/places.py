"""Where results may lie, and the names that are reserved there."""

from __future__ import annotations

import difflib
import logging
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

# Folders of the results that are no experiment's.
TAKEN = (
    "benchmarks",
    "data",
    "figures",
    "logs",
    "measurements",
    "provenance",
    "runs",
    "studies",
)


def strange(given: str) -> str:
    """Which characters a path must not hold that the workflow names; empty where there are none."""
    characters = sorted({each for each in given if each in "{}" or not each.isprintable()})
    if not characters:
        return ""
    return (
        f"it must not hold {', '.join(map(repr, characters))}: braces stand for wildcards in the "
        "names of files, and line breaks and the like end a line of a log"
    )


class NearTargets(logging.Handler):
    """Adds to Snakemake's message that no rule makes a file which targets are near."""

    def __init__(self, results: str, targets: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self._results = results
        self._targets = targets

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, if this is such a message."""
        match = re.search(r"No rule to produce (.+) \(if you use", record.getMessage())
        if match:
            print(self.hint(match[1]), file=sys.stderr)

    def hint(self, given: str) -> str:
        """What to say of a target that no rule makes."""
        known = list(self._targets())
        names = {Path(each).name: each for each in reversed(known)}  # of equal names, the first
        near = difflib.get_close_matches(given, known, n=2) or [
            names[name] for name in difflib.get_close_matches(Path(given).name, names, n=2)
        ]
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        return (
            f"There is no target {given}.{meant} Targets are files below {self._results}, such as "
            "table2.csv, figures/figure06.pdf or a run's manifest.json; without any, all is made."
        )
