"""One self-contained page of the studies alone: studies.html."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eosflow.results import page, report_provenance, verdicts
from eosflow.results.collect import collect
from eosflow.results.figures import entries
from eosflow.storage.files import write_text
from eosflow.studies import OF_RUNS, Study


def render(
    results: Path, studies: Sequence[str], runs: Mapping[str, Mapping[str, Path]], output: Path
) -> None:
    """Write the page of these studies of a results folder, without the experiments of the paper.

    `runs` are those of each study that is made of runs, by name, and where each lies. Reads the
    tables, verdicts and figures of the studies, and the records of their runs. The same files give
    the same page, byte by byte.

    Raises: UserError where one of these files is missing or damaged.
    """
    study_of = {home: study for study in studies for home in runs.get(study, {}).values()}
    _, frame = collect(study_of, measurement=None)
    frame["study"] = list(study_of.values())
    listed = {name: each for name, each in entries([], studies).items() if isinstance(each, Study)}
    pictures = {name: page.picture(results, name, each, frame) for name, each in listed.items()}
    known = page.studied(results, pictures, studies)
    studied = [study for study in known if study["name"] in studies]
    text = page.template("studies.html.jinja").render(
        studied=studied,
        headline=headline(studies, frame),
        verdicts=verdicts.counts(row["verdict"] for study in studied for row in study["verdicts"]),
        experiments=experiments(frame),
        runs=frame,
        report_provenance=report_provenance,
    )
    write_text(output, text)


def headline(studies: Sequence[str], runs: pd.DataFrame) -> str:
    """Of what the page is, in a sentence: how many studies, and of which runs and seeds."""
    own = sum(study not in OF_RUNS for study in studies)
    parts = [f"{own} with fixed problems, whatever the configuration"] if own else []
    if len(runs):
        data = [f"{name}, N = {page.span(rows['n'])}" for name, rows in runs.groupby("dataset")]
        seeds = f"{page.numbers(runs['init_seed'])}, subsets {page.numbers(runs['subset_seed'])}"
        parts.append(
            f"{len(studies) - own} made of {len(runs)} runs of this configuration: "
            f"{' and '.join(data)}; {' and '.join(sorted(runs['network'].unique()))}; seeds {seeds}"
        )
    return f"{len(studies)} {'study' if len(studies) == 1 else 'studies'}: {'; '.join(parts)}."


def experiments(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per experiment of the studies: what was run, with which seeds, and how it ended."""
    rows = []
    for name, group in runs.groupby("experiment", sort=False):
        first = group.iloc[0]
        ends = Counter(group["stopped"]).items()
        rows.append(
            {
                "experiment": str(name),
                **{key: first[key] for key in ("study", "dataset", "network", "optimizer")},
                "batch": first["batch"],
                "n": page.numbers(group["n"]),
                "runs": len(group),
                "seeds": page.numbers(group["init_seed"]),
                "subsets": page.numbers(group["subset_seed"]),
                "stopped": ", ".join(f"{end} ({count})" for end, count in ends),
            }
        )
    return rows
