"""The numbers that the paper's claims are judged by: one per run, per experiment or per fit.

Each public function takes the snapshots and the rows of the runs that reached their target loss.
All leave out what is before a run's start, see `eosflow.results.courses`.
Runs whose networks have no such numbers are left out, and the note says how many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eosflow.results import courses, power_laws
from eosflow.results.courses import IDENTITY, column

# At the paper's rate of 0.009 % one event is expected in this many iterations.
FEWEST_ITERATIONS = math.ceil(1 / 0.00009)
# A sharpness that rises by less needs no explanation.
RISE = 1.1


@dataclass(frozen=True)
class Evidence:
    """One number per run, per experiment or per fit, and whether the claim is true there.

    `rows` names them: `experiment`, `name`, `count` (of runs). All have the same index. `enough`
    is false where agreement would prove nothing.
    """

    rows: pd.DataFrame
    values: pd.Series
    passes: pd.Series
    worst_is_largest: bool
    note: str = ""
    enough: bool = True


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["experiment"]].assign(name=courses.run_names(frame), count=1)


def _runs_of(snapshots: pd.DataFrame) -> int:
    """How many runs have snapshots after the transient."""
    return len(courses.after_transient(snapshots).drop_duplicates(IDENTITY))


def _left_out(count: int) -> str:
    """The note on runs that lack what a claim is about."""
    if not count:
        return ""
    return f"{count} run{'s' if count > 1 else ''} left out whose networks have no such numbers"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _at_most(frame: pd.DataFrame, values: pd.Series, limit: float) -> Evidence:
    """The largest value of each run's snapshots must not exceed `limit`."""
    top = values.groupby([frame[name] for name in IDENTITY]).max().reset_index(name="value")
    known = top.dropna(subset="value")
    note = _left_out(len(top) - len(known))
    return Evidence(_named(known), known["value"], known["value"] <= limit, True, note)


def _above(
    snapshots: pd.DataFrame, frame: pd.DataFrame, values: pd.Series, limit: float
) -> Evidence:
    """The value of each run in `frame` must exceed `limit`."""
    known = values.notna()
    kept, values = frame[known], values[known]
    note = _left_out(_runs_of(snapshots) - len(kept))
    return Evidence(_named(kept), values, values > limit, False, note)


def _above_where(
    snapshots: pd.DataFrame,
    frame: pd.DataFrame,
    values: pd.Series,
    limit: float,
    growth: pd.Series,
    what: str,
) -> Evidence:
    """The value of each run in `frame` must exceed `limit` if `growth`, of `what`, is a rise."""
    rising, still = (growth > RISE) & values.notna(), growth <= RISE
    note = f"{int(still.sum())} runs left out whose {what} rises by less than 10 %"
    note = _joined(note, _left_out(_runs_of(snapshots) - int(still.sum()) - int(rising.sum())))
    values = values[rising]
    return Evidence(_named(frame[rising]), values, values > limit, False, note)


def residual_absolute(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(R) of each run: at most 56.74."""
    later = courses.after_transient(snapshots)
    return _at_most(later, column(later, "sharpness_residual"), 56.74)


def residual_share(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(R)/λ₁(𝓗) of each run: at most 9.9 %."""
    later = courses.after_transient(snapshots)
    share = column(later, "sharpness_residual") / column(later, "sharpness_hessian")
    return _at_most(later, share, 0.099)


def gauss_newton_close(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest |λ₁(𝓗)/λ₁(G) − 1| of each run: at most 10.1 %."""
    later = courses.after_transient(snapshots)
    ratio = column(later, "sharpness_hessian") / column(later, "sharpness_gauss_newton")
    gap = (ratio - 1).abs()
    return _at_most(later, gap, 0.101)


def first_layer_bound(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest excess of E‖M_l‖², l > 1, over E‖M_1‖² of each run: at most 37 %."""
    later = courses.after_transient(snapshots)
    others = [f"layer_norm2_{layer}" for layer in range(2, courses.layer_count(later) + 1)]
    excess = later[others].max(axis="columns") / column(later, "layer_norm2_1") - 1
    return _at_most(later, excess, 0.37)


def first_layer_usual(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of each experiment's snapshots with the largest E‖M_l‖² at l = 1."""
    later = courses.after_transient(snapshots)
    # A network of one layer has no other to compare it with.
    later = later[column(later, "layer_norm2_2").notna()]
    names = [f"layer_norm2_{layer}" for layer in range(1, courses.layer_count(later) + 1)]
    first = later[names].idxmax(axis="columns") == "layer_norm2_1"
    share = first.groupby(later["experiment"], sort=False).mean()
    return _of_experiments(snapshots, later, share, 0.5)


def _of_experiments(
    snapshots: pd.DataFrame, looked_at: pd.DataFrame, share: pd.Series, limit: float
) -> Evidence:
    """One number per experiment, which must exceed `limit`; the runs looked at are counted."""
    share = share.dropna()
    counts = looked_at.drop_duplicates(IDENTITY).groupby("experiment").size()
    rows = pd.DataFrame(
        {"experiment": share.index, "name": [f"{name} (all)" for name in share.index]}
    )
    rows["count"] = counts[share.index].to_numpy()
    values = share.reset_index(drop=True)
    note = _left_out(_runs_of(snapshots) - int(rows["count"].sum()))
    return Evidence(rows, values, values > limit, False, note)


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
    rates = (events / iterations).reset_index(drop=True)
    rows = pd.DataFrame(
        {"experiment": totals.index, "name": [f"{name} (all)" for name in totals.index]}
    )
    rows["count"] = groups.size().to_numpy()
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
    enough = bool(many and everywhere and known.max() < 1)
    return Evidence(rows, rates, rates <= 0.00009, True, note, enough)


def sharpness_rises(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest max λ₁(𝓗) over its start, of each experiment."""
    grown = courses.largest_growth(snapshots).dropna(subset="sharpness_hessian")
    best = grown.groupby("experiment", sort=False)["sharpness_hessian"].max()
    return _of_experiments(snapshots, grown, best, 1.0)


def norm_not_overlap(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of log E‖M‖² in the growth of log λ₁(G) (E5) of each rising run."""
    grown = courses.growth(snapshots, peak_of="sharpness_gauss_newton")
    logs = np.log(grown[["m_norm2", "sharpness_gauss_newton"]])
    share = logs["m_norm2"] / logs["sharpness_gauss_newton"]
    return _above_where(snapshots, grown, share, 0.5, grown["sharpness_gauss_newton"], "λ₁(G)")


def alignment_rises_most(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest growth of A_1 over that of the other factors (E12), of each run."""
    grown = courses.largest_growth(snapshots).dropna(subset=list(courses.FACTORS))
    others = [name for name in courses.FACTORS if name != "alignment"]
    most = grown["alignment"] / grown[others].max(axis="columns")
    return _above(snapshots, grown, most, 1.0)


def alignment_explains(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of log A_1 in the growth of log E‖M_1‖² (E12) of each rising run."""
    grown = courses.growth(snapshots)
    logs = np.log(grown[["alignment", "layer_norm2_1"]])
    share = logs["alignment"] / logs["layer_norm2_1"]
    return _above_where(snapshots, grown, share, 0.5, grown["layer_norm2_1"], "E‖M₁‖²")


def alignment_rises(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Peak of A_1 over its start, of each run."""
    grown = courses.growth(snapshots, peak_of="alignment_product")
    return _above(snapshots, grown, grown["alignment"], 1.0)


def jacobians_rise(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Π E‖D_j‖² at the peak of A_1 over its start, of each run."""
    grown = courses.growth(snapshots, peak_of="alignment_product")
    return _above(snapshots, grown, grown["jacobian_product"], 1.0)


def criterion_declines(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """E‖H_ℓ^½‖² at the peak of A_1 over its start, of each run: at most 1."""
    grown = courses.growth(snapshots, peak_of="alignment_product").dropna(subset="criterion_norm2")
    # Constant for squared error; rounding must not turn that into a rise.
    passes = grown["criterion_norm2"] <= 1 + 1e-9
    note = _left_out(_runs_of(snapshots) - len(grown))
    return Evidence(_named(grown), grown["criterion_norm2"], passes, True, note)


def stable_without(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Stable step with alignment frozen (E13) over the actual one, of each rising run."""
    # Both have one row per run, in the order of IDENTITY.
    steps, grown = courses.stable_steps(snapshots), courses.largest_growth(snapshots)
    gain = steps["counterfactual_step"] / steps["stable_step"]
    return _above_where(snapshots, steps, gain, 1.0, grown["sharpness_hessian"], "λ₁(𝓗)")


def exponent(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """b of each experiment (E14): positive, with its interval."""
    laws, lacking = _laws(snapshots, runs)
    intervals = zip(_fit_names(laws), laws["b_low"], laws["b_high"], strict=True)
    known = [(name, low, high) for name, low, high in intervals if not math.isnan(low)]
    note = "; ".join(f"{name} [{low:.2f}, {high:.2f}]" for name, low, high in known)
    clear = bool((laws["b_low"] > 0).all())
    if any(low <= 0 for _, low, _ in known):
        note += "; an interval reaches 0"
    if len(known) < len(laws):
        note = _joined(note, f"of one subset, without an interval: {len(laws) - len(known)}")
    note = _joined(note, lacking)
    return Evidence(_fitted(laws), laws["b"], laws["b"] > 0, False, note, clear)


def determination(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """R² of each experiment (E14): at least 0.74."""
    laws, lacking = _laws(snapshots, runs)
    passes = laws["r_squared"] >= 0.74
    return Evidence(_fitted(laws), laws["r_squared"], passes, False, lacking)


def _laws(snapshots: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The power laws that can be fitted, and a note on the runs that have no alignment."""
    laws = power_laws.fits(snapshots, runs)
    lacking = _runs_of(snapshots) - int(laws["runs"].sum())
    return laws.dropna(subset="b").reset_index(drop=True), _left_out(lacking)


def _fit_names(laws: pd.DataFrame) -> list[str]:
    """The paper's experiments by dataset and criterion, as in its Table 2; others by name."""
    of_paper = laws["dataset"] + " " + laws["criterion"]
    if "experiment" not in laws:
        return list(of_paper)
    own = ~laws["experiment"].isin(power_laws.OF_EXPERIMENT)
    return list(of_paper.mask(own, laws["experiment"]))


def _fitted(laws: pd.DataFrame) -> pd.DataFrame:
    names = _fit_names(laws)
    fits = [f"{name} (fit)" for name in names]
    return pd.DataFrame({"experiment": names, "name": fits, "count": laws["runs"]})
