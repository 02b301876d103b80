"""One self-contained page with everything a reader of the results wants: report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from eosflow.networks.mlp import MLPSettings
from eosflow.results import argument, claims, courses, explorer, origin, page, paper
from eosflow.results.figures import (
    EXPERIMENTS,
    EXTRAS,
    FIGURES,
    NAMES,
    Drawn,
    entries,
    file_name,
    title_of,
)
from eosflow.results.tables import given_titles, readable
from eosflow.storage.files import write_text

TABLES = ("table1", "table2", "alignment", "table3", "claims")
# Table 1 of Lowell & Kastner 2024, to say how far from it runs are.
PAPER_NETWORK = MLPSettings().describe()
FULL_BATCH = "all examples"  # what a run's `batch` says where nothing is drawn


def render(results: Path | str, output: Path | str) -> None:
    """Write the report of a results folder.

    Reads runs.parquet, decomposition.parquet, the tables, claims.csv and figures/*.png below
    `results`. The same files give the same page, byte by byte.
    Figures of the paper's experiments without runs are left out and listed; links to files are
    relative, so they work where the page lies in the results folder.

    Raises: UserError where one of these files is missing.
    """
    results = Path(results)
    runs = page.load(results / "runs.parquet")
    decomposition = page.load(results / "decomposition.parquet")
    titles = given_titles(runs)
    tables = {name: readable(page.load(results / f"{name}.csv"), titles) for name in TABLES}
    listed = entries([*EXPERIMENTS, *runs["experiment"]])
    shown = {n: entry for n, entry in listed.items() if _has_content(results, n, entry, runs)}
    pictures = {name: page.picture(results, name, entry, runs) for name, entry in shown.items()}
    text = page.template("report.html.jinja").render(
        runs=runs,
        summary=_summary(runs, tables),
        factors=[
            {name: Markup(text) for name, text in factor._asdict().items()}
            for factor in argument.FACTORS
        ],
        growth=argument.growth(decomposition, runs) if len(runs) else [],
        explorer=_explorer(decomposition, runs),
        origin=origin,
        tables={name: page.records(table) for name, table in tables.items()},
        laws=_laws(tables["table2"]),
        studied=page.studied(results, pictures),
        headline=pictures.get("power-law"),
        extras=[pictures[name] for name in EXTRAS if name in pictures and name != "power-law"],
        numbered=[pictures[name] for name in map(file_name, FIGURES) if name in pictures],
        others=[p for name, p in pictures.items() if name not in NAMES],
        absent=_absent(set(shown)),
        experiments=EXPERIMENTS,
        claims=claims,
        seen_in=_seen_in(pictures),
        run_names=set(courses.run_names(runs)) if len(runs) else set(),
    )
    write_text(output, text)


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


def _seen_in(pictures: Mapping[str, page.Picture]) -> dict[str, dict[str, Any]]:
    """For each claim the figures of the page in which it is seen, and the quantity to look at."""
    return {
        claim: {
            "pictures": [p for p in pictures.values() if getattr(p.entry, "kind", None) == kind],
            "quantity": quantity,
        }
        for claim, (kind, quantity) in argument.SEEN_IN.items()
    }


def _has_content(results: Path, name: str, entry: Drawn, runs: pd.DataFrame) -> bool:
    if entry.data is not None:  # it needs no runs
        return (results / "figures" / f"{name}.png").exists()
    return (
        not runs.empty if entry.experiment is None else entry.experiment in set(runs["experiment"])
    )


def _absent(shown: set[str]) -> list[tuple[str, str]]:
    """Experiments without runs, with the numbers of the figures that await them."""
    missing: dict[str, list[str]] = {}
    for figure, entry in FIGURES.items():
        if file_name(figure) not in shown:
            missing.setdefault(entry.experiment or "dice-ce", []).append(str(figure))
    return [(name, ", ".join(missing[name])) for name in EXPERIMENTS if name in missing]


def _summary(runs: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    verdicts = tables["claims"]["verdict"]
    return {
        "runs": len(runs),
        "scale": scale(runs),
        "reached": int((runs["stopped"] == "target_loss").sum()),
        "experiments": [title_of(name) for name in runs["experiment"].unique()],
        "others": [name for name in runs["experiment"].unique() if name not in EXPERIMENTS],
        "claims": len(verdicts),
        "hold": int((verdicts == claims.HOLDS).sum()),
        "contradicted": int((verdicts == claims.CONTRADICTED).sum()),
        "undecided": int(verdicts.isin([claims.CANNOT_TELL, claims.NOT_ENOUGH]).sum()),
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
        known = paper.EXPERIMENTS.get(str(experiment))
        beyond |= known is not None and not found <= set(known.sizes)
        of_paper = f" of the paper's {page.span(known.sizes)}" if known else ""
        count = f"{len(rows)} run{'s' * (len(rows) > 1)}"
        sizes.append(f"{title_of(str(experiment))}, N = {page.span(found)}{of_paper} ({count})")
    kind = "Not the paper's settings" if beyond else "The paper's network and sizes"
    network = " and ".join(networks) + (f" (the paper: {PAPER_NETWORK})" if beyond else "")
    return f"{kind}: {network}; {'; '.join(sizes)}."


def _solver(optimizer: str, batch: str) -> str:
    return optimizer if batch == FULL_BATCH else f"{optimizer}, {batch}"


def _laws(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Table 2 with each interval beside its estimate, and `fitted`: whether there is a fit."""
    rows = page.records(table)
    for row in rows:
        row["fitted"] = pd.notna(row["b"])
        for name in ("a", "b", "bend", "paper_b"):
            interval = (
                f"{page.number(row[f'{name}_low'], 2)}, {page.number(row[f'{name}_high'], 2)}"
            )
            bounded = f" [{interval}]" if pd.notna(row[f"{name}_low"]) else ""
            row[name] = page.number(row[name]) + bounded
    return rows
