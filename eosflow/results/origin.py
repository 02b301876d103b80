"""What the runs of a report were made on, what they cost, and what makes them again."""

from __future__ import annotations

from typing import Any

import pandas as pd
import yaml

from eosflow.results import courses
from eosflow.results.collect import VERSIONED


def cost(runs: pd.DataFrame) -> list[dict[str, Any]]:
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
    return _records(table.reset_index())


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


def every_run(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per run: its name and a name for links, how it ended, its key and commit."""
    named = runs.assign(
        run=courses.run_names(runs),
        id="run-" + courses.run_names(runs).str.replace("/", "-"),
        key=runs["key"].str[:12],
        commit=runs["commit"].fillna("not known").str[:10],
    )
    return _records(named)


def configuration(runs: pd.DataFrame) -> str:
    """The experiments, sizes, seeds and targets of these runs, to lay over config.yaml (YAML).

    Network, optimizer and snapshots are not in it: `runs` has them in words alone.
    """
    experiments: dict[str, Any] = {}
    for name, rows in runs.groupby("experiment", sort=False):
        targets = sorted({float(value) for value in rows["target_loss"]})
        experiments[str(name)] = {
            "n": sorted({int(n) for n in rows["n"]}),
            "target_loss": targets[0],
        }
    seeds = {
        "initialization": sorted({int(seed) for seed in runs["init_seed"]}),
        "subset": sorted({int(seed) for seed in runs["subset_seed"]}),
    }
    chosen = {"select": list(experiments), "seeds": seeds, "experiments": experiments}
    return yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None, width=90)


def planned(runs: pd.DataFrame) -> int:
    """How many runs that configuration plans: every size with every pair of seeds."""
    seeds = runs["init_seed"].nunique() * runs["subset_seed"].nunique()
    return int(runs.groupby("experiment")["n"].nunique().sum() * seeds)


def commits(runs: pd.DataFrame) -> list[str]:
    """The commits that runs were made at, the one of most runs first."""
    return [str(commit) for commit in runs["commit"].dropna().value_counts().index]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
