"""One self-contained page with everything a reader of the results wants: report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from eosflow.networks.mlp import MLPSettings
from eosflow.results import (
    claims,
    explorer,
    page,
    paper,
    report_chain,
    report_provenance,
    run_summaries,
    verdicts,
)
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
FULL_BATCH = "all examples"  # what a run's `batch` says if nothing is drawn


def render(
    results: Path | str, output: Path | str, configuration: Mapping[str, Any] | None = None
) -> None:
    """Write the report of a results folder.

    Reads runs.parquet, decomposition.parquet, the tables, claims.csv and figures/*.png below
    `results`. `configuration` is the complete one that the results are made by; kept evidence has
    none. The same files give the same page, byte by byte.
    Figures of the paper's experiments without runs are left out; links to files are relative, so
    they work if the page lies in the results folder.

    Raises: UserError if one of these files is missing.
    """
    results = Path(results)
    runs = page.load(results / "runs.parquet")
    decomposition = page.load(results / "decomposition.parquet")
    titles = given_titles(runs)
    dice = "dice-ce" in set(runs["experiment"])
    names = [name for name in TABLES if dice or name != "table3"]
    tables = {name: readable(page.load(results / f"{name}.csv"), titles) for name in names}
    for table in tables.values():
        if "experiment" in table:
            table["experiment"] = table["experiment"].map(title_of)
    found, settings = verdicts.of_paper(tables["claims"], EXPERIMENTS)
    listed = entries([*EXPERIMENTS, *runs["experiment"]])
    shown = {n: entry for n, entry in listed.items() if _has_content(results, n, entry, runs)}
    pictures = {name: page.picture(results, name, entry, runs) for name, entry in shown.items()}
    text = page.template("report.html.jinja").render(
        runs=runs,
        summary=_summary(runs),
        configuration=report_provenance.configuration(configuration) if configuration else None,
        verdicts=verdicts.counts(tables["claims"]["verdict"]),
        found=found,
        settings=settings,
        factors=[
            {name: Markup(text) for name, text in factor._asdict().items()}
            for factor in report_chain.FACTORS
        ],
        growth=report_chain.growth(decomposition, runs) if len(runs) else [],
        explorer=_explorer(decomposition, runs),
        report_provenance=report_provenance,
        tables={name: page.records(table) for name, table in tables.items()},
        laws=_laws(tables["table2"]),
        studied=page.studied(results, pictures),
        headline=pictures.get("power-law"),
        extras=[pictures[name] for name in EXTRAS if name in pictures and name != "power-law"],
        numbered=[pictures[name] for name in map(file_name, FIGURES) if name in pictures],
        others=[p for name, p in pictures.items() if name not in NAMES],
        fewest=claims.FEWEST_SEEDS,
        shown=report_chain.SHOWN,
        seen_in=_seen_in(pictures),
        run_names=set(run_summaries.run_names(runs)) if len(runs) else set(),
    )
    write_text(output, text)


def _explorer(decomposition: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any] | None:
    """What the chart of the page is made of; None if there are no runs."""
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


def _seen_in(pictures: Mapping[str, page.Picture]) -> dict[str, list[page.Picture]]:
    """For each claim the figures of the page in which it is seen."""
    return {
        claim: [p for p in pictures.values() if getattr(p.entry, "kind", None) == shown.kind]
        for claim, shown in report_chain.SHOWN.items()
    }


def _has_content(results: Path, name: str, entry: Drawn, runs: pd.DataFrame) -> bool:
    if entry.experiment is not None and entry.experiment not in set(runs["experiment"]):
        return False
    if entry.data is not None:  # it needs no runs
        return (results / "figures" / f"{name}.png").exists()
    return not runs.empty


def _summary(runs: pd.DataFrame) -> dict[str, Any]:
    return {
        "runs": len(runs),
        "scale": scale(runs),
        "reached": int((runs["stopped"] == "target_loss").sum()),
        "experiments": [title_of(name) for name in runs["experiment"].unique()],
        "others": [name for name in runs["experiment"].unique() if name not in EXPERIMENTS],
        "alone": not runs.empty and not set(runs["experiment"]) & EXPERIMENTS.keys(),
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
    if not set(runs["experiment"]) & EXPERIMENTS.keys():
        kind, network = "None of the paper's experiments", " and ".join(networks)
    else:
        kind = "Not the paper's settings" if beyond else "The paper's network and sizes"
        network = " and ".join(networks) + (f" (the paper: {PAPER_NETWORK})" if beyond else "")
    return f"{kind}: {network}; {'; '.join(sizes)}."


def _solver(optimizer: str, batch: str) -> str:
    return optimizer if batch == FULL_BATCH else f"{optimizer}, {batch}"


def _laws(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Table 2 of what was run, each interval beside its estimate; `fitted`: there is a fit."""
    rows = page.records(table[table["runs"] + table["runs_left_out"] > 0])
    for row in rows:
        row["fitted"] = pd.notna(row["b"])
        for name in ("a", "b", "bend", "paper_b"):
            interval = (
                f"{page.number(row[f'{name}_low'], 2)}, {page.number(row[f'{name}_high'], 2)}"
            )
            bounds = Markup(' <span class="interval">[{}]</span>').format(interval)
            row[name] = page.number(row[name]) + (bounds if pd.notna(row[f"{name}_low"]) else "")
    return rows
