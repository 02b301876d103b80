"""The paper's in-text claims, each checked on every run that reached its target loss.

All of them leave out what is before a run's start, its first snapshot from iteration 10 on, or from
flow time 0.1 on where the flow is followed at a known error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eosflow.analysis.claims import CONTRADICTED as CONTRADICTED
from eosflow.analysis.claims import HOLDS as HOLDS
from eosflow.analysis.claims import NOT_ENOUGH as NOT_ENOUGH
from eosflow.results import claim_measures, courses
from eosflow.results.claim_measures import Evidence

# One run can contradict a claim about all runs; supporting it takes at least these.
FEWEST_RUNS = 3
LOST = "(number not transcribed)"  # the paper gives one; only the claim's words are checked

COLUMNS = [
    "claim",
    "statement",
    "paper",
    "measured",
    "holds",
    "runs",
    "worst_run",
    "by_experiment",
    "settings",
    "note",
]


@dataclass(frozen=True)
class Claim:
    """A claim: its name, what exactly is checked, the paper's number, the number of each run."""

    name: str
    statement: str
    paper: str
    unit: str  # "", "%" or "x", how `measured` is written
    measure: Callable[[pd.DataFrame, pd.DataFrame], Evidence]


def check(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Check every claim on the finished runs; one row per claim.

    A claim about all runs is `contradicted` by a single run, and `holds` if at least three runs
    were looked at and all agree. `measured` is the number of the worst run, `worst_run` its folder,
    `by_experiment` the worst number of each experiment; `settings` says what networks, optimizers,
    sizes and how many runs of each experiment were looked at.

    Returns: `COLUMNS`, all text except `runs`.
    """
    finished = courses.finished(decomposition, runs)
    done = runs[runs["stopped"] == "target_loss"]
    return pd.DataFrame([_row(claim, finished, done) for claim in CLAIMS], columns=COLUMNS)


def _row(claim: Claim, snapshots: pd.DataFrame, runs: pd.DataFrame) -> dict[str, object]:
    row: dict[str, object] = {
        "claim": claim.name,
        "statement": claim.statement,
        "paper": claim.paper,
        "measured": "",
        "holds": NOT_ENOUGH,
        "runs": 0,
        "worst_run": "",
        "by_experiment": "",
        "settings": "",
        "note": "",
    }
    if snapshots.empty:
        return row
    found = claim.measure(snapshots, runs)
    row["note"] = found.note
    looked_at = int(found.rows["count"].sum())
    row["runs"] = looked_at
    row["settings"] = _settings(found, runs)
    if found.values.empty:
        return row
    signed = found.values if found.worst_is_largest else -found.values
    # Among the runs that fail, if any: what passes is not the worst, whatever its number.
    worst = _place((signed if found.passes.all() else signed[~found.passes]).idxmax())
    row["measured"] = _number(found.values.loc[worst], claim.unit)
    row["worst_run"] = found.rows["name"].loc[worst]
    extremes = signed.groupby(found.rows["experiment"], sort=False).idxmax()
    row["by_experiment"] = "; ".join(
        f"{name} {_number(found.values.loc[_place(place)], claim.unit)}"
        for name, place in extremes.items()
    )
    if not found.passes.all():
        row["holds"] = CONTRADICTED
    elif looked_at >= FEWEST_RUNS and found.enough:
        row["holds"] = HOLDS
    return row


def _settings(found: Evidence, runs: pd.DataFrame) -> str:
    """Such as `dice-ce: 12 runs, N = 468, 937; 6 affine layers of width 512, elu; …`."""
    parts, facts = [], dict[str, None]()
    for experiment, rows in found.rows.groupby("experiment", sort=False):
        of_it = runs[runs["experiment"] == experiment]
        if of_it.empty:  # a fit, named by dataset and criterion
            of_it = runs[runs["dataset"] + " " + runs["criterion"] == experiment]
        named = of_it[courses.run_names(of_it).isin(rows["name"])]
        seen = of_it if named.empty else named
        count, sizes = int(rows["count"].sum()), map(str, sorted(seen["n"].unique()))
        parts.append(f"{experiment}: {count} run{'s' * (count > 1)}, N = {', '.join(sizes)}")
        facts |= dict.fromkeys([*seen["network"], *seen["optimizer"]])
    return "; ".join([*parts, *facts])


def _place(label: Any) -> int:
    return int(label)


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.3g} %"
    # A ratio near 1 needs its fourth digit to show on which side it lies.
    return f"{value:.4g} ×" if unit == "x" else f"{value:.3g}"


CLAIMS = (
    Claim(
        "residual-absolute",
        "λ₁(R) never exceeds 56.74 after the transient (largest over snapshots).",
        "≤ 56.74",
        "",
        claim_measures.residual_absolute,
    ),
    Claim(
        "residual-share",
        "λ₁(R) never exceeds 9.9 % of λ₁(𝓗) at the same snapshot after the transient.",
        "≤ 9.9 %",
        "%",
        claim_measures.residual_share,
    ),
    Claim(
        "gauss-newton-close",
        "λ₁(𝓗) is always within 10.1 % of λ₁(G): largest |λ₁(𝓗)/λ₁(G) − 1| over snapshots.",
        "≤ 10.1 %",
        "%",
        claim_measures.gauss_newton_close,
    ),
    Claim(
        "sharpness-rises",
        "The sharpness can rise after the transient: in each experiment at least one run has "
        "max λ₁(𝓗) above its start. Measured: the largest ratio in the experiment.",
        LOST,
        "x",
        claim_measures.sharpness_rises,
    ),
    Claim(
        "norm-not-overlap",
        "The sharpness rises because E‖M‖² rises, not ω: from the start to the peak of λ₁(G), more "
        "than half of the growth of log λ₁(G) = log E‖M‖² + log ω is that of log E‖M‖². Measured: "
        "its share (above 100 % where ω falls).",
        "> 50 % (in words)",
        "%",
        claim_measures.norm_not_overlap,
    ),
    Claim(
        "first-layer-usual",
        "E‖M_l‖² is usually largest in the first layer: in each experiment at more than half of "
        "the snapshots. Measured: the share of snapshots.",
        "> 50 % (in words)",
        "%",
        claim_measures.first_layer_usual,
    ),
    Claim(
        "first-layer-bound",
        "E‖M_l‖² of no later layer (l > 1) is more than 37 % above E‖M_1‖² at the same snapshot. "
        "Measured: the largest excess (negative where the first layer is always the largest).",
        "≤ 37 %",
        "%",
        claim_measures.first_layer_bound,
    ),
    Claim(
        "alignment-rises",
        "A_1 increases: its peak is above its start. Measured: their ratio.",
        LOST,
        "x",
        claim_measures.alignment_rises,
    ),
    Claim(
        "alignment-rises-most",
        "A_1 rises the most of the five factors of E‖M_1‖²: its largest ratio to its start exceeds "
        "that of each other factor. Measured: A_1's ratio over the largest of the other four.",
        LOST,
        "x",
        claim_measures.alignment_rises_most,
    ),
    Claim(
        "alignment-explains",
        "The rise is primarily that of A_1: from the start to the peak of E‖M_1‖², more than half "
        "of the growth of log E‖M_1‖² is that of log A_1. Measured: its share.",
        "> 50 % (in words)",
        "%",
        claim_measures.alignment_explains,
    ),
    Claim(
        "jacobians-rise",
        "Π E‖D_j‖² increases: it is larger at the peak of A_1 than at the start. Measured: their "
        "ratio.",
        LOST,
        "x",
        claim_measures.jacobians_rise,
    ),
    Claim(
        "criterion-declines",
        "E‖H_ℓ^½‖² is stable or declines: it is no larger at the peak of A_1 than at the start. "
        "Measured: their ratio.",
        LOST,
        "x",
        claim_measures.criterion_declines,
    ),
    Claim(
        "stable-without-alignment",
        "Had no alignment changed after the transient, gradient descent would be stable at larger "
        "steps: 2/s_cf exceeds 2/max λ₁(𝓗). Measured: their ratio, a lower bound of the gain.",
        LOST,
        "x",
        claim_measures.stable_without,
    ),
    Claim(
        "negative-dominant",
        "The eigenvalue largest in absolute value is negative in at most 0.009 % of the iterations "
        "of any experiment, after the transient. Measured: the share of iterations whose search "
        "met one; it must also be ruled out at every snapshot, by −λ_P(R) < λ₁(𝓗).",
        "≤ 0.009 %",
        "%",
        claim_measures.negative_dominant,
    ),
    Claim(
        "power-law-exponent",
        "Peak alignment grows with N: b > 0 in the power law of every (dataset, criterion), its "
        "95 % interval above 0.",
        "> 0 (0.20 to 0.67)",
        "",
        claim_measures.exponent,
    ),
    Claim(
        "power-law-fit",
        "The power law describes the runs: R² (log space) of every (dataset, criterion) is at "
        "least 0.74.",
        "≥ 0.74 (0.74 to 0.98)",
        "",
        claim_measures.determination,
    ),
)
