"""One self-contained page with everything a reader of the results wants: report.html."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jinja2
import pandas as pd
from markupsafe import Markup

from eosflow.networks.mlp import MLPSettings
from eosflow.results import argument, claims, courses, explorer, origin
from eosflow.results.figures import (
    EXPERIMENTS,
    EXTRAS,
    FIGURES,
    KINDS,
    NAMES,
    Entry,
    entries,
    file_name,
    title_of,
)
from eosflow.results.tables import given_titles, readable
from eosflow.results.verdicts import JUDGES
from eosflow.runs.studies import STUDIES, claims_of
from eosflow.storage.errors import UserError
from eosflow.storage.files import write_text

TABLES = ("table1", "table2", "alignment", "table3", "claims")
# Table 1 of Lowell & Kastner 2024, to say how far from it runs are.
PAPER_NETWORK = MLPSettings().describe()
PAPER_SIZES = {
    "dice-ce": (468, 937, 1875, 3750, 7500),
    "cifar10-ce": (390, 781, 1562, 3125, 6250),
    "cifar10-mse": (390, 781, 1562, 3125),
    "atrialfibrillation-ce": (60, 120, 240, 480, 960),
    "sst-ce": (461, 922, 1844, 3689),
}
# Beyond the paper, of the runs of the page; the others are of studies.
_OF_RUNS = [name for name, entry in EXTRAS.items() if entry.data is None]
FULL_BATCH = "all examples"  # what a run's `batch` says where nothing is drawn
_PNG_SIZE = slice(16, 24)  # width and height in a PNG's first chunk, big-endian


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its name and entry, the PNG as a data URI, its size in pixels.

    `data` is the table that it is drawn from, beside the page, if it is there; None for images.
    """

    name: str
    entry: Entry
    label: str
    source: str
    width: int
    height: int
    description: str
    data: str | None


def render(results: Path | str, output: Path | str) -> None:
    """Write the report of a results folder.

    Reads runs.parquet, decomposition.parquet, the tables, claims.csv and figures/*.png below
    `results`. The same files give the same page, byte by byte.
    Figures of the paper's experiments without runs are left out and listed; links to files are
    relative, so they work where the page lies in the results folder.

    Raises: UserError where one of these files is missing.
    """
    results = Path(results)
    runs = _load(results / "runs.parquet")
    decomposition = _load(results / "decomposition.parquet")
    titles = given_titles(runs)
    tables = {name: readable(_load(results / f"{name}.csv"), titles) for name in TABLES}
    listed = entries([*EXPERIMENTS, *runs["experiment"]])
    shown = {n: entry for n, entry in listed.items() if _has_content(results, n, entry, runs)}
    pictures = {name: _picture(results, name, entry, runs) for name, entry in shown.items()}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eosflow.results"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration}
    page = environment.get_template("report.html.jinja").render(
        runs=runs,
        summary=_summary(runs, tables),
        factors=[
            {name: Markup(text) for name, text in factor._asdict().items()}
            for factor in argument.FACTORS
        ],
        growth=argument.growth(decomposition, runs) if len(runs) else [],
        explorer=_explorer(decomposition, runs),
        origin=origin,
        tables={name: _records(table) for name, table in tables.items()},
        laws=_laws(tables["table2"]),
        studied=_studied(results, pictures),
        headline=pictures.get("power-law"),
        extras=[pictures[name] for name in _OF_RUNS if name in pictures and name != "power-law"],
        numbered=[p for name, p in pictures.items() if name in NAMES and name not in EXTRAS],
        others=[p for name, p in pictures.items() if name not in NAMES],
        absent=_absent(set(shown)),
        experiments=EXPERIMENTS,
        claims=claims,
        seen_in=_seen_in(pictures),
        run_names=set(courses.run_names(runs)) if len(runs) else set(),
    )
    write_text(output, page)


def _load(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, and the report is made from it. Make it with: snakemake {path}"
        ) from None


def _studied(results: Path, pictures: Mapping[str, Picture]) -> list[dict[str, Any]]:
    """Each study with its figures and verdicts; those that were not made are left out."""
    found = []
    for study in STUDIES:
        path = results / claims_of(study)
        verdicts = _records(pd.read_csv(path)) if study in JUDGES and path.exists() else []
        own = [p for p in pictures.values() if KINDS[p.entry.kind].study == study]
        if own or verdicts:
            found.append({"name": study, "pictures": own, "verdicts": verdicts})
    return found


def _explorer(decomposition: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any] | None:
    """What the chart of the page is made of; nothing where there is nothing to look at."""
    data = explorer.data(decomposition, runs) if len(runs) else {"runs": []}
    if not data["runs"]:
        return None
    return {
        "data": Markup(explorer.embedded(data)),
        "chart": Markup(explorer.embedded(explorer.chart())),
        "library": Markup(explorer.library()),
        "snapshots": data["snapshots"],
        "kept": data["kept"],
    }


def _seen_in(pictures: Mapping[str, Picture]) -> dict[str, dict[str, Any]]:
    """For each claim the figures of the page in which it is seen, and the quantity to look at."""
    return {
        claim: {
            "pictures": [p for p in pictures.values() if p.entry.kind == kind],
            "quantity": quantity,
        }
        for claim, (kind, quantity) in argument.SEEN_IN.items()
    }


def _has_content(results: Path, name: str, entry: Entry, runs: pd.DataFrame) -> bool:
    if entry.data is not None:  # it needs no runs
        return (results / "figures" / f"{name}.png").exists()
    return (
        not runs.empty if entry.experiment is None else entry.experiment in set(runs["experiment"])
    )


def _picture(results: Path, name: str, entry: Entry, runs: pd.DataFrame) -> Picture:
    path = results / "figures" / f"{name}.png"
    try:
        image = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, and the report shows it. Make it with: snakemake {path}"
        ) from None
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
    numbered = name in NAMES and name not in EXTRAS
    return f"Figure {int(name.removeprefix('figure'))}" if numbered else "Beyond the paper"


def _absent(shown: set[str]) -> list[tuple[str, str]]:
    """Experiments without runs, with the numbers of the figures that await them."""
    missing: dict[str, list[str]] = {}
    for figure, entry in FIGURES.items():
        if file_name(figure) not in shown:
            missing.setdefault(entry.experiment or "dice-ce", []).append(str(figure))
    return [(name, ", ".join(missing[name])) for name in EXPERIMENTS if name in missing]


def _summary(runs: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    verdicts = tables["claims"]["holds"]
    return {
        "runs": len(runs),
        "scale": scale(runs),
        "reached": int((runs["stopped"] == "target_loss").sum()),
        "experiments": [title_of(name) for name in runs["experiment"].unique()],
        "others": [name for name in runs["experiment"].unique() if name not in EXPERIMENTS],
        "claims": len(verdicts),
        "hold": int((verdicts == claims.HOLDS).sum()),
        "contradicted": int((verdicts == claims.CONTRADICTED).sum()),
        "undecided": int((verdicts == claims.NOT_ENOUGH).sum()),
        "fitted": int(tables["table2"]["b"].notna().sum()),
        "rising": int((tables["table2"]["b"] > 0).sum()),
        "networks": sorted(runs["network"].unique()),
        "solvers": sorted(set(map(_solver, runs["optimizer"], runs["batch"]))),
    }


def scale(runs: pd.DataFrame) -> str:
    """Of what the results are, in a sentence: the paper's own settings, or how they differ."""
    if runs.empty:
        return "No runs yet."
    networks = sorted(runs["network"].unique())
    sizes, beyond = [], networks != [PAPER_NETWORK]
    for experiment, rows in runs.groupby("experiment", sort=False):
        found = set(rows["n"])
        paper = PAPER_SIZES.get(str(experiment), ())
        beyond |= bool(paper) and not found <= set(paper)
        of_paper = f" of the paper's {_span(paper)}" if paper else ""
        count = f"{len(rows)} run{'s' * (len(rows) > 1)}"
        sizes.append(f"{title_of(str(experiment))}, N = {_span(found)}{of_paper} ({count})")
    kind = "Not the paper's settings" if beyond else "The paper's network and sizes"
    network = " and ".join(networks) + (f" (the paper: {PAPER_NETWORK})" if beyond else "")
    return f"{kind}: {network}; {'; '.join(sizes)}."


def _span(sizes: Collection[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _solver(optimizer: str, batch: str) -> str:
    return optimizer if batch == FULL_BATCH else f"{optimizer}, {batch}"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], table.to_dict("records"))


def _laws(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Table 2 with each interval beside its estimate, and `fitted`: whether there is a fit."""
    rows = _records(table)
    for row in rows:
        row["fitted"] = pd.notna(row["b"])
        for name in ("a", "b"):
            interval = f"{number(row[f'{name}_low'], 2)}, {number(row[f'{name}_high'], 2)}"
            bounded = f" [{interval}]" if pd.notna(row[f"{name}_low"]) else ""
            row[name] = number(row[name]) + bounded
    return rows


def number(value: Any, digits: int = 3) -> str:
    """A cell's text: thousands separated, `digits` significant digits, a dash where missing."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that people would use."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"
