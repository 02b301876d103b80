"""What each column of each file of the results means: symbol, equation, unit.

`columns.yaml` and, for its table, each study's `words.yaml` hold it.
`python -m eosflow.results.columns` writes docs/columns.md.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eosflow.storage.errors import UserError
from eosflow.storage.files import write_text
from eosflow.studies import STUDIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "columns.md"
# Endings that stand for a number in the real name: a layer, an eigenvalue, a loss.
INDEX = re.compile(r"_[lmX]$")
HEAD = """# Columns

*Made by `python -m eosflow.results.columns` of `eosflow/results/columns.yaml` and the studies'
`words.yaml`. In a terminal:
`eosflow explain COLUMN`.*

Symbols, and the numbers of the equations, are those of [method](method.md). A name in `_l`, `_m` or
`_X` stands for one column per layer, eigenvalue or loss. – is for none: a pure number has no unit.
"Loss / parameter²" is the unit of a second derivative of the loss along the weights.
"""


@dataclass(frozen=True)
class Column:
    """One column of one file, whose name may end in an index."""

    name: str
    symbol: str
    equation: str
    unit: str

    def is_called(self, given: str) -> bool:
        """Whether a real column's name is this one, such as `alignment_2` for `alignment_l`."""
        if given == self.name:
            return True
        stem, indexed = INDEX.subn("", self.name)
        return bool(indexed and re.fullmatch(rf"{re.escape(stem)}_\d+(\.\d+)?", given))


@dataclass(frozen=True)
class File:
    """One kind of file of the results, and its columns. `optimizers` write such a trajectory."""

    path: str
    also: str
    rows: str
    optimizers: tuple[str, ...]
    title: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The column of this name; None where the table does not know it."""
        return next((column for column in self.columns if column.is_called(name)), None)


@functools.cache
def files() -> tuple[File, ...]:
    """All files, in the order of the page."""
    text = Path(__file__).with_name("columns.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    groups = content["groups"]
    studied = [study.words["table"] | {"file": study.data} for study in STUDIES.values()]
    return tuple(_file(entry, groups) for entry in [*content["files"], *studied])


def _file(entry: dict[str, Any], groups: dict[str, Any]) -> File:
    named: dict[str, Any] = {}
    for group in entry.get("groups", []):
        named |= groups[group]
    named |= entry["columns"]
    optimizers = tuple(entry.get("optimizers", ()))
    own = f"{Path(entry['file']).name} of {', '.join(optimizers)}" if optimizers else entry["file"]
    return File(
        path=entry["file"],
        also=entry.get("also", ""),
        rows=entry["rows"],
        optimizers=optimizers,
        title=entry.get("title", own),
        columns=tuple(Column(name, *map(str, facts)) for name, facts in named.items()),
    )


def explain(name: str) -> list[tuple[File, Column]]:
    """The columns of this name, each with its file.

    Raises: UserError naming the nearest names, where no file has such a column.
    """
    found = [(file, column) for file in files() if (column := file.column(name))]
    if found:
        return found
    known = dict.fromkeys(column.name for file in files() for column in file.columns)
    lowered = {each.lower(): each for each in known}
    near = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    within = [each for each in known if name and name.lower() in each.lower() and each not in near]
    meant = [*near, *within][:5]
    hint = f" Did you mean {', '.join(meant)}?" if meant else ""
    raise UserError(
        f"No file of the results has a column {name}.{hint} docs/columns.md lists them all."
    )


def in_words(found: Iterable[tuple[File, Column]]) -> str:
    """What `eosflow explain` prints; equal columns of several files come once."""
    places: dict[Column, list[str]] = {}
    for file, column in found:
        among = f" of {', '.join(file.optimizers)}" if file.optimizers else ""
        both = f"{file.path}{among}" + (f", {file.also}" if file.also else "")
        places.setdefault(column, []).append(both)
    blocks = [
        f"{column.name}\n"
        f"  symbol    {column.symbol}\n"
        f"  equation  {column.equation}\n"
        f"  unit      {column.unit}\n" + "\n".join(f"  file      {path}" for path in paths)
        for column, paths in places.items()
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


if __name__ == "__main__":
    write_text(PAGE, page())
