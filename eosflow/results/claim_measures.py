"""The numbers that the paper's claims are judged by: one per run, per experiment or per fit.

Each public function takes the snapshots and the rows of the runs that reached their target loss.
It leaves out what is before a run's start, see `eosflow.results.courses`; `claims.check` gives it
the snapshots at the paper's times, and once more those from the start on.
Runs whose networks have no such numbers are left out, and the note says how many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eosflow.results import courses, paper, power_laws
from eosflow.results.courses import IDENTITY, column

# At the paper's rate of 0.009 % one event is expected in this many iterations.
FEWEST_ITERATIONS = math.ceil(1 / paper.NEGATIVE_DOMINANT)
# A sharpness that rises by less needs no explanation.
RISE = 1.1


@dataclass(frozen=True)
class Evidence:
    """One number per run, per experiment or per fit: `experiment`, `name`, `count`, `value`.

    Those of a run also have its `n`. `count` is how many runs the number is of. A number of several
    runs has its interval in `low` and `high`, or NaN if it has none. `enough` is false if agreement
    would prove nothing.
    """

    rows: pd.DataFrame
    note: str = ""
    enough: bool = True


def _of_runs(frame: pd.DataFrame, values: pd.Series, *notes: str) -> Evidence:
    """A number of each run in `frame`; runs without one are left out, and counted."""
    named = frame[["experiment", "n"]].assign(name=courses.run_names(frame), count=1, value=values)
    known = named.dropna(subset="value").reset_index(drop=True)
    return Evidence(known, _joined(*notes, _left_out(len(named) - len(known))))


def _left_out(count: int) -> str:
    """The note on runs that lack what a claim is about."""
    if not count:
        return ""
    return f"{count} run{'s' if count > 1 else ''} left out whose networks have no such numbers"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _runs_of(snapshots: pd.DataFrame) -> int:
    """How many runs have snapshots after the transient."""
    return len(courses.after_transient(snapshots).drop_duplicates(IDENTITY))


def _largest(frame: pd.DataFrame, values: pd.Series) -> Evidence:
    """The largest value of each run's snapshots."""
    top = values.groupby([frame[name] for name in IDENTITY]).max().reset_index(name="value")
    return _of_runs(top, top["value"])


def _rising(
    snapshots: pd.DataFrame, frame: pd.DataFrame, values: pd.Series, growth: pd.Series, what: str
) -> Evidence:
    """The value of each run in `frame` whose `growth`, of `what`, is a rise."""
    still = growth <= RISE
    note = f"{int(still.sum())} runs left out whose {what} rises by less than 10 %"
    found = _of_runs(frame[~still], values[~still], note)
    return Evidence(found.rows, _joined(found.note, _left_out(_runs_of(snapshots) - len(frame))))


def residual_absolute(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(R) of each run."""
    later = courses.after_transient(snapshots)
    return _largest(later, column(later, "sharpness_residual"))


def residual_share(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(R)/λ₁(𝓗) of each run."""
    later = courses.after_transient(snapshots)
    return _largest(later, column(later, "sharpness_residual") / column(later, "sharpness_hessian"))


def gauss_newton_close(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest |λ₁(𝓗)/λ₁(G) − 1| of each run."""
    later = courses.after_transient(snapshots)
    ratio = column(later, "sharpness_hessian") / column(later, "sharpness_gauss_newton")
    return _largest(later, (ratio - 1).abs())


def first_layer_bound(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest excess of E‖M_l‖², l > 1, over E‖M_1‖² of each run."""
    later = courses.after_transient(snapshots)
    others = [f"layer_norm2_{layer}" for layer in range(2, courses.layer_count(later) + 1)]
    return _largest(later, later[others].max(axis="columns") / column(later, "layer_norm2_1") - 1)


def first_layer_usual(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of each run's flow time in which E‖M_l‖² is largest at l = 1."""
    later = courses.after_transient(snapshots)
    # A network of one layer has no other to compare it with.
    several = later[column(later, "layer_norm2_2").notna()]
    names = [f"layer_norm2_{layer}" for layer in range(1, courses.layer_count(later) + 1)]
    first = several[names].idxmax(axis="columns") == "layer_norm2_1"
    shares = courses.time_share(several, first)
    return _of_runs(shares, shares["value"], _left_out(_runs_of(later) - len(shares)))


def negative_dominant(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of each experiment's iterations whose search met a negative dominant eigenvalue.

    A step's search hardly looks at that end of the spectrum. At the snapshots Weyl's inequality
    −λ_P(𝓗) ≤ −λ_P(R) can show that there is none. Where it cannot, or with too few iterations,
    agreement proves nothing. λ_P(R) is an estimate; the residual of its Ritz vector is added.
    Runs whose optimizer never looked are left out, with their snapshots.
    """
    looked = runs[runs["iterations_after_transient"] > 0]
    groups = looked.groupby("experiment", sort=False)
    totals = groups[["negative_dominant_after_transient", "iterations_after_transient"]].sum()
    events, iterations = totals.iloc[:, 0], totals.iloc[:, 1]
    rows = pd.DataFrame(
        {
            "experiment": totals.index,
            "name": [f"{name} (all)" for name in totals.index],
            "count": groups.size().to_numpy(),
            "value": (events / iterations).to_numpy(),
        }
    )
    later = courses.after_transient(snapshots.merge(looked[IDENTITY], on=IDENTITY))
    error = column(later, "residual_smallest") * column(later, "sharpness_residual").abs()
    lowest = column(later, "smallest_eigenvalue_residual") - error
    bounds = -lowest / column(later, "sharpness_hessian")
    known = bounds.dropna()
    note = f"{int(events.sum())} events in {int(iterations.sum()):,} iterations"
    if len(known):
        note += (
            f"; at the {len(known)} snapshots −λ_P(𝓗) ≤ −λ_P(R) is at most "
            f"{100 * known.max():.3g} % of λ₁(𝓗)"
        )
    if len(known) < len(later):
        note += f"; at {len(later) - len(known)} snapshots λ_P(R) is not known"
    many = iterations.sum() >= FEWEST_ITERATIONS
    if not many:
        note += f"; one event is expected in {FEWEST_ITERATIONS:,} at the paper's rate"
    unseen = len(runs) - len(looked)
    if unseen:
        note += f"; {unseen} runs left out that recorded nothing of it after the transient"
    everywhere = len(known) == len(later) > 0
    return Evidence(rows, note, bool(many and everywhere and known.max() < 1))


def sharpness_rises(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(𝓗) over its start, of each run."""
    grown = courses.largest_growth(snapshots)
    return _of_runs(grown, grown["sharpness_hessian"])


def sharpness_rises_every_iteration(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(𝓗) over its start, of each run, by the search of every step.

    Only of runs whose transient can be left out of those steps, from iteration 10 on.
    """
    stepped = snapshots[courses.transient(snapshots) > 0]
    start = courses.after_transient(stepped).groupby(IDENTITY).head(1)
    both = start[[*IDENTITY, "sharpness_hessian"]].merge(
        runs[[*IDENTITY, "max_sharpness"]].dropna(), on=IDENTITY
    )
    return _of_runs(both, both["max_sharpness"] / both["sharpness_hessian"])


def norm_not_overlap(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of log E‖M‖² in the growth of log λ₁(G) (E5) of each rising run."""
    grown = courses.growth(snapshots, peak_of="sharpness_gauss_newton")
    logs = np.log(grown[["m_norm2", "sharpness_gauss_newton"]])
    share = logs["m_norm2"] / logs["sharpness_gauss_newton"]
    return _rising(snapshots, grown, share, grown["sharpness_gauss_newton"], "λ₁(G)")


def alignment_rises_most(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest growth of A_1 over that of the other factors (E12), of each run."""
    grown = courses.largest_growth(snapshots)
    others = [name for name in courses.FACTORS if name != "alignment"]
    known = grown[list(courses.FACTORS)].notna().all(axis="columns")
    most = grown["alignment"] / grown[others].max(axis="columns")
    return _of_runs(grown, most.where(known))


def alignment_explains(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of log A_1 in the growth of log E‖M_1‖² (E12) of each rising run."""
    grown = courses.growth(snapshots)
    logs = np.log(grown[["alignment", "layer_norm2_1"]])
    share = logs["alignment"] / logs["layer_norm2_1"]
    return _rising(snapshots, grown, share, grown["layer_norm2_1"], "E‖M₁‖²")


def _at_alignment_peak(snapshots: pd.DataFrame, name: str) -> Evidence:
    """Growth of a factor from the start to the peak of A_1, of each run."""
    grown = courses.growth(snapshots, peak_of="alignment_product")
    return _of_runs(grown, grown[name], _left_out(_runs_of(snapshots) - len(grown)))


def alignment_rises(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Peak of A_1 over its start, of each run."""
    return _at_alignment_peak(snapshots, "alignment")


def jacobians_rise(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Π E‖D_j‖² at the peak of A_1 over its start, of each run."""
    return _at_alignment_peak(snapshots, "jacobian_product")


def criterion_declines(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """E‖H_ℓ^½‖² at the peak of A_1 over its start, of each run."""
    return _at_alignment_peak(snapshots, "criterion_norm2")


def stable_without(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Stable step with alignment frozen (E13) over the actual one, of each rising run."""
    # Both have one row per run, in the order of IDENTITY.
    steps, grown = courses.stable_steps(snapshots), courses.largest_growth(snapshots)
    gain = steps["counterfactual_step"] / steps["stable_step"]
    return _rising(snapshots, steps, gain, grown["sharpness_hessian"], "λ₁(𝓗)")


def exponent(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """b of each experiment (E14), with its interval."""
    return _fitted(snapshots, runs, "b")


def determination(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """R² of each experiment (E14), with the interval of its subsets' own lines."""
    return _fitted(snapshots, runs, "r_squared")


def _fitted(snapshots: pd.DataFrame, runs: pd.DataFrame, name: str) -> Evidence:
    """A number of the power laws that can be fitted."""
    laws = power_laws.fits(snapshots, runs)
    note = _left_out(_runs_of(snapshots) - int(laws["runs"].sum()))
    laws = laws.dropna(subset=name).reset_index(drop=True)
    rows = pd.DataFrame({"experiment": laws["experiment"], "count": laws["runs"]})
    rows["name"] = rows["experiment"] + " (fit)"
    ends = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
    return Evidence(rows.assign(**{end: laws[column] for end, column in ends.items()}), note)
