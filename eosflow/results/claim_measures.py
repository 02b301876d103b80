"""The numbers that the paper's claims are judged by: one per run, per experiment or per fit.

Each measure has the name of its claim. It takes the snapshots and the rows of the runs that reached
their target loss; `claims.check` gives it the snapshots at the paper's times, and once more those
from the runs' start on, in order. Runs whose networks have no such numbers are left out, and the
note says how many.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from eosflow.analysis import claims
from eosflow.results import power_laws, run_summaries
from eosflow.results.paper import SOURCE
from eosflow.results.run_summaries import FACTORS, IDENTITY, column

# What the paper says in its text, by name.
CLAIMS = claims.read(
    yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8")),
    source=SOURCE,
)
# At the paper's rate of 0.009 % one event is expected in this many iterations.
FEWEST_ITERATIONS = math.ceil(1 / CLAIMS["negative-dominant"].within[1])
# A sharpness that rises by less needs no explanation.
RISE = 1.1


@dataclass(frozen=True)
class Evidence:
    """One number per run, per experiment or per fit: `experiment`, `name`, `count`, `value`.

    Those of a run also have its `n`. `count` is how many runs the number is of. A number of several
    runs has its interval in `low` and `high`, or NaN if it has none. `decisive` is false if
    agreement would prove nothing.
    """

    rows: pd.DataFrame
    note: str = ""
    decisive: bool = True


def _of_runs(
    snapshots: pd.DataFrame, values: pd.Series, still: pd.Series | None = None
) -> Evidence:
    """A number of each run, by `IDENTITY`; runs without one are left out, and counted.

    Those that are `still`, because what is to be explained does not rise, are counted apart.
    """
    count, notes = len(snapshots[IDENTITY].drop_duplicates()), []
    if still is not None:
        values = values[~still]
        count -= int(still.sum())
        notes = [f"{int(still.sum())} runs left out whose {still.name} rises by less than 10 %"]
    known = values.dropna().rename("value").reset_index()
    if missing := count - len(known):
        notes.append(f"{missing} run{'s' * (missing > 1)} left out that have no such numbers")
    named = known.assign(name=run_summaries.run_names(known), count=1)
    return Evidence(named[["experiment", "n", "name", "count", "value"]], "; ".join(notes))


def _still(growth: pd.Series, what: str) -> pd.Series:
    """The runs in which something hardly rises."""
    return (growth <= RISE).rename(what)


def _growth(snapshots: pd.DataFrame, peak_of: str = "layer_norm2_1") -> pd.DataFrame:
    return run_summaries.growth(snapshots, peak_of).set_index(IDENTITY)


def _largest_growth(snapshots: pd.DataFrame) -> pd.DataFrame:
    return run_summaries.largest_growth(snapshots).set_index(IDENTITY)


def _largest(snapshots: pd.DataFrame, values: pd.Series) -> Evidence:
    """The largest value of each run's snapshots."""
    return _of_runs(snapshots, values.groupby([snapshots[name] for name in IDENTITY]).max())


def _largest_share(
    snapshots: pd.DataFrame, runs: pd.DataFrame, share: Callable[[pd.DataFrame], pd.Series]
) -> Evidence:
    """The largest of a number of each snapshot."""
    names = ("hessian", "gauss_newton", "residual")
    known = pd.DataFrame({name: column(snapshots, f"sharpness_{name}") for name in names})
    return _largest(snapshots, share(known))


def first_layer_bound(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest excess of E‖M_l‖², l > 1, over E‖M_1‖² of each run."""
    others = snapshots[run_summaries.layer_columns(snapshots)[1:]].max(axis="columns")
    return _largest(snapshots, others / column(snapshots, "layer_norm2_1") - 1)


def first_layer_usual(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of each run's flow time in which E‖M_l‖² is largest at l = 1."""
    # A network of one layer has no other to compare it with.
    several = snapshots[column(snapshots, "layer_norm2_2").notna()]
    norms = several[run_summaries.layer_columns(snapshots)]
    first = norms.idxmax(axis="columns") == "layer_norm2_1"
    shares = run_summaries.time_share(several, first)
    return _of_runs(snapshots, shares.set_index(IDENTITY)["value"])


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
    rate = (events / iterations).to_numpy()
    names = [f"{name} (all)" for name in totals.index]
    rows = pd.DataFrame({"experiment": totals.index, "name": names, "count": groups.size().array})
    rows = rows.assign(value=rate, low=rate, high=rate)
    later = snapshots.merge(looked[IDENTITY], on=IDENTITY)
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
    return _of_runs(snapshots, _largest_growth(snapshots)["sharpness_hessian"])


def sharpness_rises_every_iteration(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest λ₁(𝓗) over its start, of each run, by the search of every step.

    Only of runs whose transient can be left out of those steps, from iteration 10 on.
    """
    stepped = snapshots[run_summaries.transient(snapshots) > 0]
    start = stepped.groupby(IDENTITY)["sharpness_hessian"].first()
    largest = runs.set_index(IDENTITY)["max_sharpness"].dropna()
    return _of_runs(snapshots, (largest / start).reindex(start.index))


def norm_not_overlap(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of log E‖M‖² in the growth of log λ₁(G) (E5) of each rising run."""
    grown = _growth(snapshots, peak_of="sharpness_gauss_newton")
    share = np.log(grown["m_norm2"]) / np.log(grown["sharpness_gauss_newton"])
    return _of_runs(snapshots, share, _still(grown["sharpness_gauss_newton"], "λ₁(G)"))


def alignment_rises_most(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Largest growth of A_1 over that of the other factors (E12), of each run."""
    grown = _largest_growth(snapshots)[list(FACTORS)].dropna()
    others = grown.drop(columns="alignment").max(axis="columns")
    return _of_runs(snapshots, grown["alignment"] / others)


def alignment_explains(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Share of log A_1 in the growth of log E‖M_1‖² (E12) of each rising run."""
    grown = _growth(snapshots)
    share = np.log(grown["alignment"]) / np.log(grown["layer_norm2_1"])
    return _of_runs(snapshots, share, _still(grown["layer_norm2_1"], "E‖M₁‖²"))


def _at_peak(snapshots: pd.DataFrame, runs: pd.DataFrame, quantity: str) -> Evidence:
    """A quantity at the peak of A_1 over its start, of each run."""
    return _of_runs(snapshots, _growth(snapshots, "alignment_product")[quantity])


def stable_without_alignment(snapshots: pd.DataFrame, runs: pd.DataFrame) -> Evidence:
    """Stable step with alignment frozen (E13) over the actual one, of each rising run."""
    steps = run_summaries.stable_steps(snapshots).set_index(IDENTITY)
    gain = steps["counterfactual_step"] / steps["stable_step"]
    rise = _largest_growth(snapshots)["sharpness_hessian"]
    return _of_runs(snapshots, gain, _still(rise, "λ₁(𝓗)"))


def _fitted(snapshots: pd.DataFrame, runs: pd.DataFrame, name: str) -> Evidence:
    """A number of each power law that can be fitted (E14), with its interval over subsets."""
    laws = power_laws.fits(snapshots, runs)
    missing = len(snapshots[IDENTITY].drop_duplicates()) - int(laws["runs"].sum())
    note = f"{missing} run{'s' * (missing > 1)} left out that have no such numbers"
    laws = laws.dropna(subset=name).reset_index(drop=True)
    ends = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
    rows = pd.DataFrame({end: laws[column] for end, column in ends.items()})
    rows = rows.assign(experiment=laws["experiment"], count=laws["runs"])
    return Evidence(rows.assign(name=rows["experiment"] + " (fit)"), note * (missing > 0))


Measure = Callable[[pd.DataFrame, pd.DataFrame], Evidence]
MEASURES: dict[str, Measure] = {
    "residual-absolute": partial(_largest_share, share=lambda f: f["residual"]),
    "residual-share": partial(_largest_share, share=lambda f: f["residual"] / f["hessian"]),
    "gauss-newton-close": partial(
        _largest_share, share=lambda f: (f["hessian"] / f["gauss_newton"] - 1).abs()
    ),
    "sharpness-rises": sharpness_rises,
    "sharpness-rises-every-iteration": sharpness_rises_every_iteration,
    "norm-not-overlap": norm_not_overlap,
    "first-layer-usual": first_layer_usual,
    "first-layer-bound": first_layer_bound,
    "alignment-rises": partial(_at_peak, quantity="alignment"),
    "alignment-rises-most": alignment_rises_most,
    "alignment-explains": alignment_explains,
    "jacobians-rise": partial(_at_peak, quantity="jacobian_product"),
    "criterion-declines": partial(_at_peak, quantity="criterion_norm2"),
    "stable-without-alignment": stable_without_alignment,
    "negative-dominant": negative_dominant,
    "power-law-exponent": partial(_fitted, name="b"),
    "power-law-fit": partial(_fitted, name="r_squared"),
}
# Judged from the run's start on and not from the paper's first snapshot.
OF_EVERY_ITERATION = ("sharpness-rises-every-iteration",)
