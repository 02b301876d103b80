"""Common parts of the pages of results: templates, pictures, studies and formatted numbers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from eosflow.results import verdicts
from eosflow.results.figures import FIGURES, Drawn, file_name
from eosflow.runs.progress import time_left
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES, Study

_PNG_SIZE = slice(16, 24)  # width and height in a PNG's first chunk, big-endian


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its name and entry, the PNG as a data URI, its size in pixels.

    `data` is the table that it is drawn from, beside the page, if it is there; None for images.
    """

    name: str
    entry: Drawn
    label: str
    source: str
    width: int
    height: int
    description: str
    data: str | None


def template(name: str) -> jinja2.Template:
    """A template with the filters that it uses."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eosflow.results"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "duration": time_left,
        "symbols": verdicts.symbols,
        "mark": verdicts.mark,
        "look": verdicts.look,
    }
    return environment.get_template(name)


@contextmanager
def _needed(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, and a page is made from it. Make it with: snakemake {path}"
        ) from None


def load(path: Path) -> pd.DataFrame:
    """A table. Raises: UserError if it is missing."""
    with _needed(path):
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def studied(
    results: Path, pictures: Mapping[str, Picture], names: Iterable[str]
) -> list[dict[str, Any]]:
    """Each of these studies with its figure and verdicts, in the order of the registry."""
    shown = []
    for name, study in ((n, STUDIES[n]) for n in STUDIES if n in set(names)):
        judged = load(results / study.claims) if study.judged else pd.DataFrame()
        shown.append(
            {
                "name": name,
                "title": study.title,
                "about": _about(study, load(results / study.data)),
                "picture": pictures.get(name),
                "verdicts": judged.to_dict("records"),
                "statements": verdicts.of_study(judged) if study.judged else [],
                "table": study.data,
            }
        )
    return shown


def _about(study: Study, table: pd.DataFrame) -> str:
    """What a study is made of, in a sentence, with its seeds if its table has any."""
    words = "Made of runs of this configuration" if study.of_runs else "Its problem is fixed"
    # Rows over several seeds, and those of a source, have none.
    seeds = table.get("seed", pd.Series(dtype=float)).dropna()
    if seeds.empty:
        return f"{words}."
    return f"{words}; seed{'s' * (seeds.nunique() > 1)} {numbers(seeds)}."


def picture(results: Path, name: str, entry: Drawn, runs: pd.DataFrame) -> Picture:
    """A figure for a page, described by the runs that it shows. Raises: UserError without it."""
    path = results / "figures" / f"{name}.png"
    with _needed(path):
        image = path.read_bytes()
    size = image[_PNG_SIZE]
    data = {None: "decomposition.parquet", "dice": None}.get(entry.data, entry.data)
    chosen = runs if entry.experiment is None else runs[runs["experiment"] == entry.experiment]
    sizes = ", ".join(f"{n:,}" for n in sorted(chosen["n"].unique()))
    what = f"Plot of {len(chosen)} runs, N = {sizes}" if entry.data is None else "Picture"
    return Picture(
        name=name,
        entry=entry,
        label=_label(name),
        source="data:image/png;base64," + base64.b64encode(image).decode("ascii"),
        width=int.from_bytes(size[:4], "big"),
        height=int.from_bytes(size[4:], "big"),
        description=f"{what}: {entry.title}",
        data=data if data and (results / data).exists() else None,
    )


def _label(name: str) -> str:
    numbers = {file_name(number): number for number in FIGURES}
    return f"Figure {numbers[name]}" if name in numbers else "Beyond the paper"


def number(value: Any, digits: int = 3) -> str:
    """A cell's text: thousands separated, `digits` significant digits, a dash if missing."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"


def span(sizes: Iterable[int]) -> str:
    """From the smallest to the largest: `20 to 160`."""
    known = set(sizes)
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def numbers(values: Iterable[int]) -> str:
    """All that occur: `0 to 4`, or `0, 2, 7`."""
    known = sorted({int(value) for value in values})
    if len(known) > 2 and known == list(range(known[0], known[-1] + 1)):
        return span(known)
    return ", ".join(f"{value:,}" for value in known)
