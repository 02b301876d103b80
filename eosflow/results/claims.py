"""The paper's in-text claims, each checked on every run that reached its target loss.

Judged are the paper's own times, from iteration 100 on, or from flow time 1 on if the flow is
followed at a known error. What happens before, from iteration 10 or flow time 0.1 on, the paper did
not look at: it is given beside the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from eosflow.analysis.claims import (
    CANNOT_TELL,
    CONTRADICTED,
    FEWEST_SEEDS,
    HOLDS,
    NOT_ENOUGH,
    NOT_JUDGED,
    Claim,
    Kind,
    Sample,
)
from eosflow.results import run_summaries
from eosflow.results.claim_measures import CLAIMS, MEASURES, OF_EVERY_ITERATION, Evidence
from eosflow.results.run_summaries import IDENTITY, after_transient, paper_times

__all__ = ["CANNOT_TELL", "CLAIMS", "CONTRADICTED", "FEWEST_SEEDS", "HOLDS", "NOT_ENOUGH", "check"]

COLUMNS = [
    *("claim", "statement", "paper", "measured", "verdict", "runs", "worst_run"),
    *("by_experiment", "earlier", "settings", "note"),
]


def check(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Check every claim on the finished runs; one row per claim.

    Runs of one size are judged together, see `eosflow.analysis.claims.Claim.verdict`, and all of an
    experiment if no size has six. `verdict` is contradicted if it is anywhere, and holds if it does
    everywhere; that something can happen holds if it does once. `measured` is the number of the
    worst run, `worst_run` its folder; `by_experiment` the verdicts, each with its median, the
    interval and its worst run; `earlier` the worst number with the snapshots before the paper's
    first, where it differs; `settings` says what networks, optimizers, sizes and how many runs of
    each experiment were judged.

    Returns: `COLUMNS`, all text except `runs`.
    """
    finished = run_summaries.finished(decomposition, runs)
    done = runs[runs["stopped"] == "target_loss"]
    early, late = after_transient(finished), paper_times(finished)
    rows = [
        _row(claim, early if name in OF_EVERY_ITERATION else late, early, done)
        for name, claim in CLAIMS.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    claim: Claim, snapshots: pd.DataFrame, early: pd.DataFrame, runs: pd.DataFrame
) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMNS, "")
    row |= {"claim": claim.name, "statement": claim.statement, "paper": claim.says}
    row |= {"verdict": NOT_ENOUGH, "runs": 0}
    if snapshots.empty:
        return row
    measure = MEASURES[claim.name]
    evidence = measure(snapshots, runs)
    rows = evidence.rows
    row["note"] = "; ".join(filter(None, [evidence.note, _too_short(snapshots, early)]))
    row["runs"] = int(rows["count"].sum())
    row["settings"] = _settings(rows, runs)
    if rows.empty:
        return row
    groups = _groups(rows)
    verdicts = {name: claim.verdict(_sample(part, evidence)) for name, part in groups.items()}
    worst = _worst(claim, rows)
    row["measured"] = _number(worst["value"], claim.unit)
    row["worst_run"] = worst["name"]
    row["verdict"] = _together(claim, verdicts)
    row["by_experiment"] = "; ".join(
        f"{name} {_in_words(claim, part, evidence)}" for name, part in groups.items()
    )
    row["earlier"] = _earlier(claim, measure(early, runs).rows, rows)
    return row


def _groups(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs that are judged together: those of one size, if a size has enough, or all."""
    groups: dict[str, pd.DataFrame] = {}
    for experiment, together in rows.groupby("experiment", sort=False):
        by_size = {str(n): part for n, part in together.groupby("n")} if "n" in together else {}
        large = {n: part for n, part in by_size.items() if len(part) >= FEWEST_SEEDS}
        if len(by_size) > 1 and large:
            groups |= {f"{experiment} N = {n}": part for n, part in large.items()}
        else:
            groups[str(experiment)] = together
    return groups


def _sample(rows: pd.DataFrame, evidence: Evidence) -> Sample:
    """The numbers of some runs, or the one number of several with its interval."""
    count = int(rows["count"].sum())
    if "low" not in rows or count < FEWEST_SEEDS:
        return Sample.of(rows["value"], count, evidence.decisive)
    value, low, high = (float(rows[name].iloc[0]) for name in ("value", "low", "high"))
    return Sample(rows["value"].to_numpy(float), value, low, high, count, evidence.decisive)


def _together(claim: Claim, verdicts: Mapping[str, str]) -> str:
    """The verdict of several groups; those with too few runs have no say."""
    weightiest = HOLDS if claim.kind is Kind.SOME else CONTRADICTED  # once is enough
    order = (weightiest, CANNOT_TELL, HOLDS, NOT_ENOUGH, NOT_JUDGED)
    return next(one for one in order if one in verdicts.values())


def _worst(claim: Claim, rows: pd.DataFrame) -> pd.Series:
    return rows.iloc[claim.worst(rows["value"].to_numpy(float))]


def _in_words(claim: Claim, rows: pd.DataFrame, evidence: Evidence) -> str:
    """Such as `holds, 17 runs: 1.9 × [1.7, 2.2], worst 1.5 ×`."""
    sample = _sample(rows, evidence)
    extreme = _number(_worst(claim, rows)["value"], claim.unit)
    median, low, high = (
        _number(value, claim.unit) for value in (sample.median, sample.low, sample.high)
    )
    known = sample.low < sample.high
    interval = f" [{low.split()[0]}, {high.split()[0]}]" if known else ""
    verdict = claim.verdict(sample)
    said = "" if verdict == NOT_JUDGED else f"{verdict}, "
    which = "largest" if claim.kind is Kind.SOME else "worst"
    several = f", {which} {extreme}" if extreme != median else ""
    return f"{said}{_runs(sample.count)}: {median}{interval}{several}"


def _earlier(claim: Claim, before: pd.DataFrame, later: pd.DataFrame) -> str:
    """The worst number of each experiment from its runs' start on, where it is another."""
    first, then = (
        {
            str(name): float(_worst(claim, part)["value"])
            for name, part in rows.groupby("experiment", sort=False)
        }
        for rows in (before, later)
    )
    return "; ".join(
        f"{name} {_number(value, claim.unit)}"
        for name, value in first.items()
        if value != then.get(name)
    )


def _too_short(snapshots: pd.DataFrame, early: pd.DataFrame) -> str:
    """The note on runs that end before the first snapshot that counts."""
    count = len(early.drop_duplicates(IDENTITY)) - len(snapshots.drop_duplicates(IDENTITY))
    return f"{_runs(count)} left out that end before these times" if count else ""


def _settings(rows: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Such as `dice-ce: 12 runs, N = 468, 937; 6 affine layers of width 512, elu; …`."""
    parts, facts = [], dict[str, None]()
    for experiment, part in rows.groupby("experiment", sort=False):
        of_it = runs[runs["experiment"] == experiment]
        named = of_it[run_summaries.run_names(of_it).isin(part["name"])]
        seen = of_it if named.empty else named
        sizes = map(str, sorted(seen["n"].unique()))
        parts.append(f"{experiment}: {_runs(int(part['count'].sum()))}, N = {', '.join(sizes)}")
        facts |= dict.fromkeys([*seen["network"], *seen["optimizer"]])
    return "; ".join([*parts, *facts])


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count > 1)}"


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.3g} %"
    # A ratio near 1 needs its fourth digit to show on which side it lies.
    return f"{value:.4g} ×" if unit == "×" else f"{value:.3g}"
