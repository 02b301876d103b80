"""The machines and costs of a report's runs, and the configuration that reproduces them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from eosflow.results import page, run_summaries
from eosflow.results.collect import VERSIONED


def cost(runs: pd.DataFrame) -> list[dict[Any, Any]]:
    """One row per experiment: what training took, in steps, products and seconds."""
    groups = runs.groupby("experiment", sort=False)
    table = groups.agg(
        runs=("n", "size"),
        iterations=("iterations", "sum"),
        block_products=("block_products", "sum"),
        rejected_steps=("rejected_steps", "sum"),
        unconverged=("unconverged_iterations", "sum"),
        seconds=("seconds", "sum"),
        slowest=("seconds", "max"),
    )
    return table.reset_index().to_dict("records")


def of_studies(runs: pd.DataFrame) -> list[dict[Any, Any]]:
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


def machine(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What the runs were made on: every value that occurs, with the number of its runs."""
    names = {"device": "Device", "threads": "Threads per run"}
    names |= {f"version_{name}": name for name in VERSIONED} | {"commit": "Commit"}
    lines = []
    for column, label in names.items():
        counts = runs[column].fillna("not known").value_counts()
        values = [
            str(value) if len(counts) == 1 else f"{value} ({count} runs)"
            for value, count in counts.items()
        ]
        lines.append((label, ", ".join(values)))
    # Kept evidence of an earlier version has no such column.
    changed = runs["changed"].dropna() if "changed" in runs else pd.Series(dtype=object)
    for words, count in changed.value_counts().items():
        lines.append((f"Changed within {count} run{'s' if count > 1 else ''}", str(words)))
    return lines


def every_run(runs: pd.DataFrame) -> list[dict[Any, Any]]:
    """One row per run: its name and a name for links, how it ended, its key and commit."""
    named = runs.assign(
        run=run_summaries.run_names(runs),
        id="run-" + run_summaries.run_names(runs).str.replace("/", "-"),
        key=runs["key"].str[:12],
        commit=runs["commit"].fillna("not known").str[:10],
    )
    return named.to_dict("records")


# What decides neither which runs there are nor what is made of them.
_MACHINE = ("mirror", "checksums", "device", "keep_snapshots")


def configuration(config: Mapping[str, Any]) -> str:
    """The YAML that, laid over config.yaml, plans what a complete configuration does.

    Experiments, datasets and the like that it does not use are left out, and so is what belongs to
    a machine.
    """
    used = {name: each for name, each in config.items() if name not in _MACHINE}
    made = {*config["select"]}
    used["experiments"] = {
        name: each
        for name, each in config["experiments"].items()
        if name in made or each.get("study") in config["studies"]
    }
    drawn = {each["dataset"] for each in used["experiments"].values()}
    used["datasets"] = {name: each for name, each in config["datasets"].items() if name in drawn}
    return yaml.safe_dump(
        {name: each for name, each in used.items() if each not in ({}, None)},
        sort_keys=False,
        default_flow_style=None,
        width=90,
        allow_unicode=True,
    )


def commits(runs: pd.DataFrame) -> list[str]:
    """The commits that runs were made at, the one of most runs first."""
    return [str(commit) for commit in runs["commit"].dropna().value_counts().index]
