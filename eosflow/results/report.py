"""One self-contained page with everything a reader of the results wants: report.html."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from eosflow.results.collect import collect
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
from eosflow.studies import Study

TABLES = ("table1", "table2", "alignment", "table3", "claims")
# Table 1 of Lowell & Kastner 2024, to say how far from it runs are.
PAPER_NETWORK = MLPSettings().describe()
FULL_BATCH = "all examples"  # what a run's `batch` says if nothing is drawn


def render(
    results: Path | str,
    output: Path | str,
    configuration: Mapping[str, Any] | None = None,
    studies: Iterable[str] = (),
    homes: Mapping[Path, str] | None = None,
    experiments: bool = True,
) -> None:
    """Write the report of a results folder.

    Reads runs.parquet, decomposition.parquet, the tables, claims.csv and figures/*.png below
    `results` if there are `experiments` beside the `studies`, whose tables, verdicts and figures
    are shown too; `homes` are the folders of runs that studies are made of, each with its study.
    `configuration` is the complete one that the results are made by; kept evidence has none. The
    same files give the same page, byte by byte. Links to files are relative, so they work if the
    page lies in the results folder.

    Raises: UserError if one of these files is missing or damaged.
    """
    results, homes = Path(results), homes or {}
    of_studies = collect(homes, measurement=None)[1].assign(study=list(homes.values()))
    runs = page.load(results / "runs.parquet") if experiments else of_studies.iloc[:0]
    listed = {
        name: entry
        for name, entry in entries(runs["experiment"], studies).items()
        if (experiments or isinstance(entry, Study)) and _is_there(results, name, entry)
    }
    pictures = {name: page.picture(results, name, entry, runs) for name, entry in listed.items()}
    every = pd.concat([runs, of_studies]) if homes else runs
    studied = page.studied(results, pictures, studies)
    text = page.template("report.html.jinja").render(
        summary=_summary(runs) if experiments else None,
        configuration=report_provenance.configuration(configuration) if configuration else None,
        studied=studied,
        counts=verdicts.counts(row["verdict"] for study in studied for row in study["verdicts"]),
        study_runs=report_provenance.of_studies(of_studies),
        runs=every,
        report_provenance=report_provenance,
        **(_of_experiments(results, runs, pictures) if experiments else {}),
    )
    write_text(output, text)


def _of_experiments(
    results: Path, runs: pd.DataFrame, pictures: Mapping[str, page.Picture]
) -> dict[str, Any]:
    """What the page has of the experiments: claims, tables, figures, and the chart."""
    decomposition = page.load(results / "decomposition.parquet")
    titles = given_titles(runs)
    dice = "dice-ce" in set(runs["experiment"])
    names = [name for name in TABLES if dice or name != "table3"]
    tables = {name: readable(page.load(results / f"{name}.csv"), titles) for name in names}
    for table in tables.values():
        if "experiment" in table:
            table["experiment"] = table["experiment"].map(title_of)
    judged, settings = verdicts.of_paper(tables["claims"], EXPERIMENTS)
    return {
        "verdicts": verdicts.counts(tables["claims"]["verdict"]),
        "judged": judged,
        "settings": settings,
        "growth": report_chain.growth(decomposition, runs),
        "explorer": {
            "data": Markup(explorer.embedded(explorer.data(decomposition, runs))),
            "chart": Markup(explorer.embedded(explorer.chart())),
            "library": Markup(explorer.library()),
        },
        "tables": {name: table.to_dict("records") for name, table in tables.items()},
        "laws": _laws(tables["table2"]),
        "headline": pictures.get("power-law"),
        "extras": [pictures[n] for n in EXTRAS if n in pictures and n != "power-law"],
        "numbered": [pictures[name] for name in map(file_name, FIGURES) if name in pictures],
        "others": [p for name, p in pictures.items() if name not in NAMES],
        "fewest": claims.FEWEST_SEEDS,
        "shown": report_chain.SHOWN,
        "seen_in": _seen_in(pictures),
        "run_names": set(run_summaries.run_names(runs)),
    }


def _is_there(results: Path, name: str, entry: Drawn) -> bool:
    """The images of Dice may not have been kept; all else is there, or is missed."""
    return entry.data != "dice" or (results / "figures" / f"{name}.png").exists()


def _seen_in(pictures: Mapping[str, page.Picture]) -> dict[str, list[page.Picture]]:
    """For each claim the figures of the page in which it is seen."""
    return {
        claim: [p for p in pictures.values() if getattr(p.entry, "kind", None) == shown.kind]
        for claim, shown in report_chain.SHOWN.items()
    }


def _summary(runs: pd.DataFrame) -> dict[str, Any]:
    return {
        "runs": len(runs),
        "scale": scale(runs),
        "reached": int((runs["stopped"] == "target_loss").sum()),
        "experiments": [title_of(name) for name in runs["experiment"].unique()],
        "others": [name for name in runs["experiment"].unique() if name not in EXPERIMENTS],
        "alone": not set(runs["experiment"]) & EXPERIMENTS.keys(),
        "networks": sorted(runs["network"].unique()),
        "solvers": sorted(set(map(_solver, runs["optimizer"], runs["batch"]))),
    }


def scale(runs: pd.DataFrame) -> str:
    """Of what the results are, in a sentence: the paper's own settings, or how they differ."""
    networks = sorted(runs["network"].unique())
    sizes, beyond = [], networks != [PAPER_NETWORK]
    for experiment, rows in runs.groupby("experiment", sort=False):
        own = set(rows["n"])
        known = paper.EXPERIMENTS.get(str(experiment))
        beyond |= known is not None and not own <= set(known.sizes)
        of_paper = f" of the paper's {page.span(known.sizes)}" if known else ""
        count = f"{len(rows)} run{'s' * (len(rows) > 1)}"
        sizes.append(f"{title_of(str(experiment))}, N = {page.span(own)}{of_paper} ({count})")
    if not set(runs["experiment"]) & EXPERIMENTS.keys():
        kind, network = "None of the paper's experiments", " and ".join(networks)
    else:
        kind = "Not the paper's settings" if beyond else "The paper's network and sizes"
        network = " and ".join(networks) + (f" (the paper: {PAPER_NETWORK})" if beyond else "")
    return f"{kind}: {network}; {'; '.join(sizes)}."


def _solver(optimizer: str, batch: str) -> str:
    return optimizer if batch == FULL_BATCH else f"{optimizer}, {batch}"


def _laws(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Table 2 of what was run, each interval beside its estimate; `fitted`: there is a fit."""
    rows = table[table["runs"] + table["runs_left_out"] > 0].to_dict("records")
    for row in rows:
        row["fitted"] = pd.notna(row["b"])
        for name in ("a", "b", "bend", "paper_b"):
            interval = (
                f"{page.number(row[f'{name}_low'], 2)}, {page.number(row[f'{name}_high'], 2)}"
            )
            bounds = Markup(' <span class="interval">[{}]</span>').format(interval)
            row[name] = page.number(row[name]) + (bounds if pd.notna(row[f"{name}_low"]) else "")
    return rows
