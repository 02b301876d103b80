"""The paper's in-text claims, each checked on every run that reached its target loss.

Judged are the paper's own times, from iteration 100 on, or from flow time 1 on if the flow is
followed at a known error. What happens before, from iteration 10 or flow time 0.1 on, the paper did
not look at: it is given beside the verdict.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eosflow.analysis.claims import CANNOT_TELL, CONTRADICTED, HOLDS, NOT_ENOUGH
from eosflow.results import courses
from eosflow.results.claim_measures import Evidence
from eosflow.results.courses import IDENTITY
from eosflow.results.judging import (
    FEWEST_RUNS,
    NOT_JUDGED,
    Claim,
    Kind,
    Verdict,
    judged,
)
from eosflow.results.paper_claims import CLAIMS

__all__ = ["CANNOT_TELL", "CLAIMS", "CONTRADICTED", "FEWEST_RUNS", "HOLDS", "NOT_ENOUGH", "check"]

COLUMNS = [
    "claim",
    "statement",
    "paper",
    "measured",
    "verdict",
    "runs",
    "worst_run",
    "by_experiment",
    "earlier",
    "settings",
    "note",
]


def check(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Check every claim on the finished runs; one row per claim.

    Runs of one size are judged together, see `judging.judged`, and all of an experiment if no size
    has six. `verdict` is contradicted if it is anywhere, and holds if it does everywhere; that
    something can happen holds if it does once. `measured` is the number of the worst run,
    `worst_run` its folder; `by_experiment` the verdicts, each with its median, the interval and its
    worst run; `earlier` the worst number with the snapshots before the paper's first, where it
    differs; `settings` says what networks, optimizers, sizes and how many runs of each experiment
    were judged.

    Returns: `COLUMNS`, all text except `runs`.
    """
    finished = courses.finished(decomposition, runs)
    done = runs[runs["stopped"] == "target_loss"]
    rows = [_row(claim, finished, done) for claim in CLAIMS]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(claim: Claim, finished: pd.DataFrame, runs: pd.DataFrame) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMNS, "")
    row |= {"claim": claim.name, "statement": claim.statement, "paper": claim.paper}
    row |= {"verdict": NOT_ENOUGH, "runs": 0}
    snapshots = claim.times(finished)
    if snapshots.empty:
        return row
    found = claim.measure(snapshots, runs)
    row["note"] = "; ".join(filter(None, [found.note, _too_short(snapshots, finished)]))
    row["runs"] = int(found.rows["count"].sum())
    row["settings"] = _settings(found, runs)
    if found.rows.empty:
        return row
    verdicts = {
        name: judged(claim, rows, found.enough) for name, rows in _groups(found.rows).items()
    }
    worst = claim.extreme(found.rows)
    row["measured"] = _number(worst["value"], claim.unit)
    row["worst_run"] = worst["name"]
    row["verdict"] = NOT_JUDGED if claim.kind is Kind.SEEN else _together(claim, verdicts)
    row["by_experiment"] = "; ".join(
        f"{name} {_in_words(verdict, claim)}" for name, verdict in verdicts.items()
    )
    row["earlier"] = _earlier(claim, finished, runs, found)
    return row


def _groups(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs that are judged together: those of one size, if a size has enough, or all."""
    groups: dict[str, pd.DataFrame] = {}
    for experiment, together in rows.groupby("experiment", sort=False):
        by_size = {str(n): part for n, part in together.groupby("n")} if "n" in together else {}
        large = {n: part for n, part in by_size.items() if len(part) >= FEWEST_RUNS}
        if len(by_size) > 1 and large:
            groups |= {f"{experiment} N = {n}": part for n, part in large.items()}
        else:
            groups[str(experiment)] = together
    return groups


def _together(claim: Claim, verdicts: dict[str, Verdict]) -> str:
    """The verdict of several groups; those with too few runs have no say."""
    if all(verdict.count < FEWEST_RUNS for verdict in verdicts.values()):
        return NOT_ENOUGH
    found = {verdict.verdict for verdict in verdicts.values() if verdict.count >= FEWEST_RUNS}
    weightiest = (HOLDS,) if claim.kind is Kind.SOME else (CONTRADICTED,)  # once is enough
    return next(one for one in (*weightiest, CANNOT_TELL, HOLDS) if one in found)


def _in_words(verdict: Verdict, claim: Claim) -> str:
    """Such as `holds, 17 runs: 1.9 × [1.7, 2.2], worst 1.5 ×`."""
    median, extreme = (_number(value, claim.unit) for value in (verdict.median, verdict.extreme))
    ends = [_number(end, claim.unit).split()[0] for end in (verdict.low, verdict.high)]
    exact = np.isnan(verdict.low) or verdict.low == verdict.high
    interval = "" if exact else f" [{ends[0]}, {ends[1]}]"
    said = "" if claim.kind is Kind.SEEN else f"{verdict.verdict}, "
    which = "largest" if claim.kind is Kind.SOME else "worst"
    several = f", {which} {extreme}" if extreme != median else ""
    return f"{said}{verdict.count} run{'s' * (verdict.count > 1)}: {median}{interval}{several}"


def _earlier(claim: Claim, finished: pd.DataFrame, runs: pd.DataFrame, found: Evidence) -> str:
    """The worst number of each experiment from its runs' start on, where it is another."""
    later, before = (
        {
            str(name): float(claim.extreme(rows)["value"])
            for name, rows in evidence.rows.groupby("experiment", sort=False)
        }
        for evidence in (found, claim.measure(courses.after_transient(finished), runs))
    )
    return "; ".join(
        f"{name} {_number(value, claim.unit)}"
        for name, value in before.items()
        if value != later.get(name)
    )


def _too_short(snapshots: pd.DataFrame, finished: pd.DataFrame) -> str:
    """The note on runs that end before the first snapshot that counts."""
    count = len(finished.drop_duplicates(IDENTITY)) - len(snapshots.drop_duplicates(IDENTITY))
    return f"{count} run{'s' * (count > 1)} left out that end before these times" if count else ""


def _settings(found: Evidence, runs: pd.DataFrame) -> str:
    """Such as `dice-ce: 12 runs, N = 468, 937; 6 affine layers of width 512, elu; …`."""
    parts, facts = [], dict[str, None]()
    for experiment, rows in found.rows.groupby("experiment", sort=False):
        of_it = runs[runs["experiment"] == experiment]
        named = of_it[courses.run_names(of_it).isin(rows["name"])]
        seen = of_it if named.empty else named
        count, sizes = int(rows["count"].sum()), map(str, sorted(seen["n"].unique()))
        parts.append(f"{experiment}: {count} run{'s' * (count > 1)}, N = {', '.join(sizes)}")
        facts |= dict.fromkeys([*seen["network"], *seen["optimizer"]])
    return "; ".join([*parts, *facts])


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.3g} %"
    # A ratio near 1 needs its fourth digit to show on which side it lies.
    return f"{value:.4g} ×" if unit == "x" else f"{value:.3g}"
