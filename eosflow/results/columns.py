"""What each column of each file of the results means: symbol, equation, unit.

Optimizers, measurements and studies say it of their own columns, `columns.yaml` of all others.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from eosflow.measurements import MEASUREMENTS
from eosflow.measurements.base import Measurement
from eosflow.optimizers import OPTIMIZERS
from eosflow.runs.names import view_of
from eosflow.storage.columns import Column, Columns
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES, Study

# Some numbers of parameters and outputs: what a column means does not depend on them.
SOME_PARAMETERS, SOME_OUTPUTS = 1000, 3
BY_SNAPSHOT = "One row per run and snapshot. Further measurements add the columns of their frames."
HEAD = """# Columns

*Made by `make generate` of what optimizers, measurements and studies say of their columns, and of
`eosflow/results/columns.yaml`. In a terminal: `eosflow explain COLUMN`.*

Symbols, and the numbers of the equations, are those of [method](method.md). A name in `_l`, `_m` or
`_X` stands for one column per layer, eigenvalue or loss. – is for none: a pure number has no unit.
"Loss / parameter²" is the unit of a second derivative of the loss along the weights.
"""


@dataclass(frozen=True)
class File:
    """One kind of file of the results, and its columns. `optimizers` write such a trajectory."""

    path: str
    also: str
    rows: str
    optimizers: tuple[str, ...]
    title: str
    columns: Columns

    def column(self, name: str) -> Column | None:
        """The column of this name; None if the table does not know it."""
        return next((column for column in self.columns if column.is_called(name)), None)


@functools.cache
def files() -> tuple[File, ...]:
    """All files, in the order of the page."""
    text = Path(__file__).with_name("columns.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    groups = content["groups"]
    of_runs, of_tables = (
        [_file(entry, groups) for entry in content["files"] if ("/nN/" in entry["file"]) == part]
        for part in (True, False)
    )
    added = groups["identity"], groups["snapshot"]
    measured = [kind.example() for kind in MEASUREMENTS.values()]
    return (
        *of_runs,
        *_trajectories(of_runs[0].path),
        *(_measured(each, content["frames"], added) for each in measured),
        *of_tables,
        *(_studied(study, groups) for study in STUDIES.values()),
    )


def _trajectories(path: str) -> list[File]:
    """Trajectories by their own columns, each with the optimizers that write them."""
    optimizers: dict[tuple[str, Columns], list[str]] = {}
    for kind in OPTIMIZERS.values():
        columns = kind.example().columns(SOME_PARAMETERS, SOME_OUTPUTS)
        optimizers.setdefault((kind.rows, columns), []).append(kind.name)
    return [
        File(path, "", rows, tuple(names), f"trajectory.parquet of {', '.join(names)}", columns)
        for (rows, columns), names in optimizers.items()
    ]


def _measured(
    measurement: Measurement, frames: dict[str, Any], added: tuple[dict[str, Any], ...]
) -> File:
    """The frame of a measurement, and the record of a snapshot."""
    folder = view_of(measurement.name)
    path, also = f"{folder}.parquet", f"EXP/nN/RUN/{folder}/stepSTEP.json"
    rows = f"One row per weight snapshot that the measurement takes. {measurement.rows}".strip()
    own = [_columns(group) for group in (*added, frames.get(path, {}))]
    columns = (*(each for group in own for each in group), *measurement.columns(SOME_OUTPUTS))
    return File(path, also, rows, (), path, columns)


def _studied(study: Study, groups: dict[str, Any]) -> File:
    """The table of a study, see `eosflow.studies.runs.by_snapshot` for one of snapshots."""
    if not study.by_snapshot:
        return _file(study.words["table"] | {"file": study.data}, groups)
    settings = {column.name: column for column in _columns(groups["of_study"])}
    columns = dict(settings)
    measured = (MEASUREMENTS[name].example().columns(SOME_OUTPUTS) for name in study.measurements)
    for column in (*_columns(groups["snapshot"]), *(each for group in measured for each in group)):
        name = f"{column.name}_measured" if column.name in settings else column.name
        columns.setdefault(name, replace(column, name=name))
    return File(study.data, "", BY_SNAPSHOT, (), study.data, tuple(columns.values()))


def _columns(named: dict[str, list[str]]) -> Columns:
    facts = ((name, *map(str, each)) for name, each in named.items())
    return tuple(Column(name, symbol, equation, unit) for name, symbol, equation, unit in facts)


def _file(entry: dict[str, Any], groups: dict[str, Any]) -> File:
    named: dict[str, Any] = {}
    for group in entry.get("groups", []):
        named |= groups[group]
    named |= entry.get("columns", {})
    return File(
        path=entry["file"],
        also=entry.get("also", ""),
        rows=entry["rows"],
        optimizers=(),
        title=entry.get("title", entry["file"]),
        columns=_columns(named),
    )


def explain(name: str) -> list[tuple[File, Column]]:
    """The columns of this name, each with its file.

    Raises: UserError naming the nearest names, where no file has such a column.
    """
    matches = [(file, column) for file in files() if (column := file.column(name))]
    if matches:
        return matches
    known = dict.fromkeys(column.name for file in files() for column in file.columns)
    lowered = {each.lower(): each for each in known}
    near = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    within = [each for each in known if name and name.lower() in each.lower() and each not in near]
    meant = [*near, *within][:5]
    hint = f" Did you mean {', '.join(meant)}?" if meant else ""
    raise UserError(
        f"No file of the results has a column {name}.{hint} docs/columns.md lists them all."
    )


def in_words(matches: Iterable[tuple[File, Column]]) -> str:
    """What `eosflow explain` prints; equal columns of several files come once."""
    paths: dict[Column, list[str]] = {}
    for file, column in matches:
        among = f" of {', '.join(file.optimizers)}" if file.optimizers else ""
        both = f"{file.path}{among}" + (f", {file.also}" if file.also else "")
        paths.setdefault(column, []).append(both)
    blocks = [
        f"{column.name}\n"
        f"  symbol    {column.symbol}\n"
        f"  equation  {column.equation}\n"
        f"  unit      {column.unit}\n" + "\n".join(f"  file      {path}" for path in files)
        for column, files in paths.items()
    ]
    return "\n\n".join(blocks)


def page() -> str:
    """docs/columns.md."""
    parts = [HEAD]
    for file in files():
        if not file.columns:
            continue
        where = f" The same in `{file.also}`." if file.also else ""
        body = "\n".join(
            f"| `{c.name}` | {_cell(c.symbol)} | {_cell(c.equation)} | {_cell(c.unit)} |"
            for c in file.columns
        )
        rows = f"{file.rows}{where}".strip()
        parts.append(
            f"\n## {file.title}\n\n" + (f"{rows}\n\n" if rows else "") + "| column | symbol | "
            f"equation | unit |\n|---|---|---|---|\n{body}\n"
        )
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
