"""The paper's tables, made from the tidy frames, and how tables are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import gmean

from eosflow.datasets import DATASETS
from eosflow.objectives import CRITERIA
from eosflow.results import claims, paper, power_laws, run_summaries
from eosflow.storage.files import replacing, write_text

# Training losses at which runs of all sizes are compared.
EQUAL_LOSSES = (0.3, 0.1, 0.03)
PAPER_LAW = ["paper_law", "paper_law_low", "paper_law_high"]
LINE_ENDS = {"round": 0, "butt": 1, "square": 2}


def table1(runs: pd.DataFrame) -> pd.DataFrame:
    """The experiments: one row per experiment and N, with what its runs cost.

    The paper's experiments come first, in its order, then any others.

    Returns: `dataset`, `criterion`, `n`, `runs`, `parameters`, `reached_target`, `cut_off` and
    `diverged` (runs that stopped so), `iterations` and `flow_time` (medians), `seconds` and
    `block_products` (sums; a block is all K+1 tracked vectors, or one where none are tracked);
    where there are other experiments than the paper's, also `experiment`.
    """
    counted = runs.assign(
        reached_target=runs["stopped"] == "target_loss",
        cut_off=runs["stopped"] == "max_iterations",
        diverged=runs["stopped"] == "diverged",
    )
    groups = counted.groupby(["experiment", "dataset", "criterion", "n"], sort=False)
    table = groups.agg(
        runs=("parameters", "size"),
        parameters=("parameters", "first"),
        reached_target=("reached_target", "sum"),
        cut_off=("cut_off", "sum"),
        diverged=("diverged", "sum"),
        iterations=("iterations", "median"),
        flow_time=("flow_time", "median"),
        seconds=("seconds", "sum"),
        block_products=("block_products", "sum"),
    ).reset_index()
    table = in_order(table, ["experiment", "n"], table["experiment"])
    table = table[[*(name for name in table if name != "experiment"), "experiment"]]
    return power_laws.without_own_column(table)


def table2(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The power law of each experiment beside the paper's: see `power_laws.fits`."""
    return power_laws.without_own_column(power_laws.fits(decomposition, runs))


def alignment(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """How A_1 grows from one N to the next: at its peak, and where all runs have the same loss.

    Only runs that reached their target loss. Means are geometric. A peak at the end of a run says
    as much about where training stops as about N; alignment at equal loss does not.

    Returns: one row per experiment and N: `dataset`, `criterion`, `n`, `runs`, `peak` (mean),
    `peak_low`, `peak_high` (of the runs), `paper_law` (the paper's a·N^b there), `paper_law_low`,
    `paper_law_high` (the band of its rounding), `exponent` (of the mean peak, from the next
    smaller N), `peaks_at_end` (runs whose peak is their last snapshot),
    `at_loss_X` (mean A_1 at the losses X) and `exponent_at_X`; where there are other experiments
    than the paper's, also `experiment`.
    """
    finished = run_summaries.finished(decomposition, runs)
    peaks = run_summaries.alignment_peaks(finished)
    last = finished.groupby(run_summaries.IDENTITY)["iteration"].max().rename("last").reset_index()
    peaks = peaks.merge(last, on=run_summaries.IDENTITY)
    peaks["at_end"] = peaks["iteration"] == peaks["last"]
    keys = ["experiment", "dataset", "criterion", "n"]
    groups = peaks.groupby(keys, sort=False)
    table = groups.agg(
        runs=("alignment", "size"),
        peak=("alignment", gmean),
        peak_low=("alignment", "min"),
        peak_high=("alignment", "max"),
        peaks_at_end=("at_end", "sum"),
    ).reset_index()
    for loss in EQUAL_LOSSES:
        at_loss = run_summaries.alignment_at_loss(finished, loss).groupby(keys)["alignment"]
        means = at_loss.agg(gmean).rename(f"at_loss_{loss:g}").reset_index()
        table = table.merge(means, on=keys, how="left")
    table = in_order(table, ["experiment", "n"], table["experiment"])
    laws = [power_laws.paper_fit(*row) for row in table[keys[:3]].itertuples(index=False)]
    bands = [
        power_laws.paper_law(law, n) if law else (np.nan,) * 3
        for law, n in zip(laws, table["n"], strict=True)
    ]
    table[PAPER_LAW] = np.array(bands).reshape(-1, 3)
    table["exponent"] = _exponents(table, "peak")
    for loss in EQUAL_LOSSES:
        table[f"exponent_at_{loss:g}"] = _exponents(table, f"at_loss_{loss:g}")
    first = [*keys[1:], "runs", "peak", "peak_low", "peak_high", *PAPER_LAW, "exponent"]
    others = [name for name in table if name not in (*first, "experiment")]
    return power_laws.without_own_column(table[[*first, *others, "experiment"]])


def _exponents(table: pd.DataFrame, name: str) -> pd.Series:
    """Slope of log `name` against log N from the row before; missing at an experiment's first N."""
    logs = pd.DataFrame({column: np.log(table[column].astype(float)) for column in ("n", name)})
    steps = logs.groupby(table["experiment"], sort=False).diff()
    return pd.Series(steps[name] / steps["n"])


def in_order(table: pd.DataFrame, by: list[str], others: Iterable[str]) -> pd.DataFrame:
    """Rows by these columns, experiments in the paper's order and then in that of `others`."""
    names = list(dict.fromkeys([*paper.EXPERIMENTS, *others]))
    return table.sort_values(
        by,
        key=lambda column: column.map(names.index) if column.name == "experiment" else column,
        kind="stable",
        ignore_index=True,
    )


def table3(parameters: pd.DataFrame) -> pd.DataFrame:
    """Ranges of the Dice parameters: as drawn, and as the paper specifies them.

    `parameters` has one row per image: `class` (1 to 6) and its parameters.

    Returns: `class`, `parameter`, `min`, `max` (as drawn), `paper_min`, `paper_max`,
    `images`. Units: x, y, dx, dy of the axes −1 to 1; cex, lwd and lend as in R.
    """
    rows = []
    for number, specified in paper.DICE.items():
        images = parameters[parameters["class"] == number]
        for name, (low, high) in specified.items():
            values = images[name]
            if name == "lend":
                values = values.map(lambda end: LINE_ENDS.get(end, end))
            rows.append(
                {
                    "class": number,
                    "parameter": name,
                    "min": values.min() if len(values) else np.nan,
                    "max": values.max() if len(values) else np.nan,
                    "paper_min": low,
                    "paper_max": high,
                    "images": len(values),
                }
            )
    return pd.DataFrame(rows)


def given_titles(runs: pd.DataFrame) -> dict[str, str]:
    """The titles that users gave their own datasets, by the dataset's name."""
    given = runs[runs["dataset_title"].notna()]
    return dict(zip(given["dataset"], given["dataset_title"], strict=True))


def readable(table: pd.DataFrame, given: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table for print: datasets and criteria under the names that people use.

    `given` are titles of further datasets; what has no title keeps its name.
    """
    titles = {name: kind.facts.title for name, kind in DATASETS.items()} | dict(given or {})
    named = table.copy()
    for column, names in (("dataset", titles), ("criterion", CRITERIA)):
        if column in named:
            named[column] = [names.get(value, value) for value in named[column]]
    return named


def write_parquet(frame: pd.DataFrame, path: Path | str) -> None:
    """Write a tidy frame as parquet, atomically."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_csv(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV with six significant digits; a missing number is an empty field."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def write_all(folder: Path, decomposition: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Write the tables and claims that are made of the frames."""
    made = {
        "table1": table1(runs),
        "table2": table2(decomposition, runs),
        "alignment": alignment(decomposition, runs),
        "claims": claims.check(decomposition, runs),
    }
    for name, table in made.items():
        write_csv(table, folder / f"{name}.csv")
