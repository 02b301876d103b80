"""docs/reproduction.md, whose every number comes from the kept evidence.

It is made of its template and of the tables in docs/reproduction and docs/data;
`python -m eosflow.results.reproduction` draws its pictures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eosflow.analysis.claims import CANNOT_TELL, CONTRADICTED, HOLDS, NOT_ENOUGH
from eosflow.results import paper, run_summaries
from eosflow.results.claim_measures import RISE
from eosflow.results.figures import title_of
from eosflow.results.figures.index import draw_small

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = ("power-law", "figure01", "figure06", "figure07", "figure08")
MARKS = {HOLDS: "✓", CONTRADICTED: "✗", CANNOT_TELL: "?", NOT_ENOUGH: "?"}
# How claims.csv writes what some runs say: their median, its interval, the worst or largest run.
_JUDGED = re.compile(
    r"^(?P<name>[\w-]+) (?:N = (?P<n>\d+) )?(?:(?P<verdict>[a-z ]+), )?(?P<count>\d+) runs?: "
    r"(?P<median>[^\[,]+?)(?: (?P<interval>\[[^\]]+\]))?(?:, (?:worst|largest) (?P<worst>.+))?$"
)


class Evidence:
    """One folder of kept evidence: its tables, by the names that the page asks for."""

    def __init__(self, folder: Path) -> None:
        self.laws = _by_experiment(pd.read_csv(folder / "table2.csv"))
        self.sizes = _named(pd.read_csv(folder / "alignment.csv"))
        self.claims = pd.read_csv(folder / "claims.csv").fillna("").set_index("claim")
        self.runs = pd.read_parquet(folder / "runs.parquet")
        frame = pd.read_parquet(folder / "decomposition.parquet")
        self.peaks = run_summaries.alignment_peaks(frame)
        self.seen = run_summaries.paper_times(frame)

    def size(self, experiment: str, n: int) -> dict[str, Any]:
        """The row of alignment.csv."""
        rows = self.sizes[(self.sizes["experiment"] == experiment) & (self.sizes["n"] == n)]
        (row,) = rows.to_dict("records")
        return {str(name): value for name, value in row.items()}

    def count(self, experiment: str | None = None) -> int:
        """How many runs there are, of an experiment or in all."""
        return int((self.runs["experiment"] == experiment).sum() if experiment else len(self.runs))

    def rising(self, experiment: str, n: int) -> tuple[int, int, str]:
        """Runs whose λ₁(𝓗) rises by 10 % and more, all runs, and how far it rises."""
        grown = run_summaries.largest_growth(self.seen[self.seen["experiment"] == experiment])
        rises = grown.loc[grown["n"] == n, "sharpness_hessian"]
        return int((rises > RISE).sum()), len(rises), _span(rises)

    def norm_share(self, experiment: str, n: int) -> str:
        """The share of E‖M‖² in the rise of λ₁(G), over the runs in which it rises."""
        grown = run_summaries.growth(
            self.seen[self.seen["experiment"] == experiment], "sharpness_gauss_newton"
        )
        rising = grown[(grown["n"] == n) & (grown["sharpness_gauss_newton"] > RISE)]
        return _span(100 * np.log(rising["m_norm2"]) / np.log(rising["sharpness_gauss_newton"]))

    def said(self, claim: str, experiment: str) -> list[dict[str, str]]:
        """What claims.csv says of an experiment, by size or once: verdict, count, median, …"""
        parts = str(self.claims.loc[claim, "by_experiment"]).split("; ")
        found = [match.groupdict("") for part in parts if (match := _JUDGED.match(part))]
        return [said for said in found if said["name"] == experiment]

    def worst(self, claim: str, experiment: str) -> str:
        """The number of the run furthest from a claim."""
        numbers = [said["worst"] or said["median"] for said in self.said(claim, experiment)]
        return max(numbers, key=_value)

    def cell(self, claim: str, experiment: str) -> str:
        """Marks and numbers of an experiment: of a bound the worst run, else the median."""
        said = self.said(claim, experiment)
        if not said:
            return "–"
        marks = [MARKS.get(one["verdict"], "") for one in said]
        if str(self.claims.loc[claim, "paper"]).startswith("≤"):
            mark = next((one for one in ("✗", "?", "✓") if one in marks), "")
            odd = [one["n"] for one in said if MARKS.get(one["verdict"], "") == mark != "✓"]
            where = f" at {', '.join(odd)}" if len(said) > 1 and any(odd) else ""
            return f"{mark} {self.worst(claim, experiment)}{where}".strip()
        if len(said) == 1:
            return f"{marks[0]} {said[0]['median']} {said[0]['interval']}".strip()
        if len(set(marks)) == 1:
            ordered = sorted((one["median"] for one in said), key=_value)
            return f"{marks[0]} {ordered[0].split()[0]} to {ordered[-1]}"
        each = zip(marks, said, strict=True)
        return ", ".join(f"{mark} {one['median']} at {one['n']}" for mark, one in each)

    def earlier(self, claim: str, experiment: str) -> str:
        """The worst number with the snapshots before the paper's first."""
        parts = (part.split(" ", 1) for part in str(self.claims.loc[claim, "earlier"]).split("; "))
        found = {part[0]: part[1] for part in parts if len(part) == 2}
        return found.get(experiment) or self.worst(claim, experiment)


def _value(text: str) -> float:
    """The number that a text such as `38.3 %` begins with."""
    return float(text.split()[0])


def _span(values: pd.Series) -> str:
    low, high = number(values.min(), 3), number(values.max(), 3)
    return low if low == high else f"{low} to {high}"


def _by_experiment(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    rows = _named(table).to_dict("records")
    return {str(row["experiment"]): {str(k): v for k, v in row.items()} for row in rows}


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """With the column `experiment`, which a table of the paper's experiments alone leaves out."""
    if "experiment" in table:
        return table
    of_pair = {each.key: name for name, each in paper.EXPERIMENTS.items()}
    pairs = zip(table["dataset"], table["criterion"], strict=True)
    return table.assign(experiment=[of_pair[pair] for pair in pairs])


def number(value: float, digits: int = 2) -> str:
    """A number of so many significant digits, without an exponent; – if it is missing."""
    if pd.isna(value):
        return "–"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{places}f}".replace("-", "−")


def interval(row: dict[str, Any], name: str, ends: tuple[str, str] | None = None) -> str:
    """A number of a table with its interval, such as `0.57 [0.52, 0.63]`."""
    low, high = ends or (f"{name}_low", f"{name}_high")
    if pd.isna(row[name]):
        return "–"
    bounds = "" if pd.isna(row[low]) else f" [{_two(row[low])}, {_two(row[high])}]"
    return f"{_two(row[name])}{bounds}"


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def choices() -> pd.DataFrame:
    """Peak A_1 of the runs of config/choices.yaml: one row per choice."""
    frame = pd.read_csv(DOCS / "data" / "choices.csv")
    keys = ["experiment", "n", "init_seed", "subset_seed"]
    later = frame[frame["flow_time"] >= run_summaries.START_TIME]
    runs = later.groupby(keys)
    peak = np.log(runs["alignment_product"].max())
    rise = runs["sharpness_hessian"].max() / runs["sharpness_hessian"].first()
    means: pd.DataFrame = np.exp(peak.groupby(["experiment", "n"]).mean()).unstack()
    rises = rise.groupby(["experiment", "n"]).median().unstack()
    table: pd.DataFrame = means.rename(columns=lambda n: f"peak_{n}").join(
        rises.rename(columns=lambda n: f"rise_{n}")
    )
    sizes = sorted(map(int, means.columns))
    table["exponent"] = np.log(means[sizes[1]] / means[sizes[0]]) / np.log(sizes[1] / sizes[0])
    return table


def beginnings() -> pd.DataFrame:
    """λ₁(𝓗) after exponential Euler's first iterations, and of the flow at the same flow times.

    Indexed by experiment, N, seed and iteration; `off` is the distance between their weights over
    the distance travelled.
    """
    frame = pd.read_parquet(DOCS / "data" / "start-of-training.parquet")
    keys = ["experiment", "n", "seed", "iteration"]
    by_scheme = {name: rows.set_index(keys) for name, rows in frame.groupby("scheme")}
    flow = by_scheme["reference"][["sharpness_hessian", "euler_error"]]
    euler = by_scheme["euler"]["sharpness_hessian"].rename("euler")
    named = flow.rename(columns={"sharpness_hessian": "flow", "euler_error": "off"})
    table: pd.DataFrame = named.join(euler)
    return table[~table.index.duplicated()]


def schemes_apart(euler: Evidence, flow: Evidence, experiment: str) -> tuple[int, float]:
    """Of the runs that both schemes made: how many, and the largest difference of their peaks."""
    both = euler.peaks.merge(flow.peaks, on=run_summaries.IDENTITY, suffixes=("", "_flow"))
    both = both[both["experiment"] == experiment]
    return len(both), float((both["alignment_flow"] / both["alignment"] - 1).abs().max())


def page() -> str:
    """docs/reproduction.md."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "number": number,
        "interval": interval,
        "schemes_apart": schemes_apart,
    }
    flow, euler = (Evidence(DOCS / "reproduction" / name) for name in ("flow", "data"))
    template = environment.get_template("reproduction.md.jinja")
    return template.render(
        flow=flow,
        euler=euler,
        choices=choices().to_dict("index"),
        starts=_columns(beginnings()),
        joined=between_snapshots(),
    )


def _columns(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """The problems of `beginnings`, each with its title and its rows by iteration."""
    columns: list[dict[Any, Any]] = []
    for (experiment, n, seed), rows in table.groupby(level=["experiment", "n", "seed"]):
        other = f", initialisation and subset {seed}" if seed else ""
        by_iteration = rows.droplevel(["experiment", "n", "seed"]).to_dict("index")
        columns.append({"title": f"{title_of(str(experiment))}, N = {n}{other}", **by_iteration})
    return columns


def between_snapshots() -> list[str]:
    """How far λ₁(𝓗) of every iteration lies from the lines between snapshots, at most.

    Returns: from iteration 100 on, from 10 on, and how far a peak lies above that of the snapshots.
    """
    folder = DOCS / "reproduction" / "data"
    every = pd.read_parquet(folder / "trajectories.parquet")
    seen = pd.read_parquet(folder / "decomposition.parquet").query("iteration >= 10")
    misses = []
    for _, snapshots in seen.groupby(run_summaries.IDENTITY):
        known = snapshots.sort_values("iteration")
        own = every.merge(snapshots[run_summaries.IDENTITY].drop_duplicates())
        own = own[own["iteration"].between(10, known["iteration"].max())]
        line = np.interp(own["iteration"], known["iteration"], np.log(known["sharpness_hessian"]))
        apart = (own["eigenvalue_1"] / np.exp(line) - 1).abs()
        above = own["eigenvalue_1"].max() / known["sharpness_hessian"].max() - 1
        misses.append((apart[own["iteration"] >= 100].max(), apart.max(), above))
    return [f"{100 * max(column):.1f} %" for column in zip(*misses, strict=True)]


if __name__ == "__main__":
    draw_small(DOCS / "reproduction" / "flow", PICTURES, "flow-")
