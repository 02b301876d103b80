"""Summaries of runs: one row per run, from its snapshots.

Everything here leaves out the transient, as the paper does: a run starts at its first snapshot from
iteration 10 on. If its optimizer has no transient it starts at flow time 0.1, after ten of the
paper's largest steps; if it ends before, at 0. `paper_times` are the later times at which the paper
decomposes. Runs of different networks can share a frame: what a network does not have, such as the
alignment of one that is no chain of layers, is missing (NaN).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eosflow.analysis import TRANSIENT

# Units of flow time, for runs that have no such iterations.
START_TIME = 0.1
# The paper decomposes every hundredth iteration, so it first looks after the transient at iteration
# 100, which is flow time 1 at its largest step.
PAPER_ITERATION = 100
PAPER_TIME = 1.0

IDENTITY = ["experiment", "dataset", "criterion", "n", "init_seed", "subset_seed"]

# The five factors of E‖M_l‖² (E12), in the order of the equation.
FACTORS = (
    "activation_ratio",
    "activation_norm2",
    "criterion_norm2",
    "jacobian_product",
    "alignment",
)


def run_names(frame: pd.DataFrame) -> pd.Series:
    """The run folder of each row, below the results folder: `EXP/nN/init{i}-subset{s}`."""
    text = frame[IDENTITY].astype(str)
    seeds = "init" + text["init_seed"] + "-subset" + text["subset_seed"]
    return text["experiment"] + "/n" + text["n"] + "/" + seeds


def finished(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots of the runs that reached their target loss; other runs may not have peaked."""
    done = runs.loc[runs["stopped"] == "target_loss", IDENTITY]
    return decomposition.merge(done, on=IDENTITY, how="inner")


def transient(decomposition: pd.DataFrame) -> pd.Series:
    """How many iterations the transient of each snapshot's run has, 10 where nothing is said."""
    return column(decomposition, "transient").fillna(TRANSIENT).astype(int)


def after_transient(decomposition: pd.DataFrame) -> pd.DataFrame:
    """The snapshots from a run's start on, in the order of run and iteration."""
    iterations = transient(decomposition)
    counted = decomposition["iteration"] >= iterations
    if (iterations == 0).any():
        keys = [decomposition[name] for name in IDENTITY]
        later = decomposition["flow_time"] >= START_TIME
        counted &= (iterations > 0) | later | ~later.groupby(keys).transform("any")
    kept = decomposition[counted]
    return kept.sort_values([*IDENTITY, "iteration"], ignore_index=True)


def paper_times(decomposition: pd.DataFrame) -> pd.DataFrame:
    """The snapshots from iteration 100 on, or from flow time 1 on without a transient.

    In the order of run and iteration. A run that ends earlier has none. Our own last snapshot
    counts too, which need not lie at a hundredth iteration.
    """
    later = after_transient(decomposition)
    return later[_in_paper(later)].reset_index(drop=True)


def _in_paper(decomposition: pd.DataFrame) -> pd.Series:
    timed = decomposition["flow_time"] >= PAPER_TIME
    return (decomposition["iteration"] >= PAPER_ITERATION).where(
        transient(decomposition) > 0, timed
    )


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of numbers; all are missing where the frame has no such column."""
    return frame[name] if name in frame else pd.Series(np.nan, index=frame.index, name=name)


def layer_columns(decomposition: pd.DataFrame) -> list[str]:
    """`layer_norm2_1` … `layer_norm2_L`, L of the deepest network."""
    return [name for name in decomposition.columns if name.startswith("layer_norm2_")]


def layer_count(decomposition: pd.DataFrame) -> int:
    """L of the deepest network."""
    return len(layer_columns(decomposition))


def _depths(decomposition: pd.DataFrame) -> pd.Series:
    """L of each snapshot's own network."""
    return decomposition[layer_columns(decomposition)].notna().sum(axis="columns")


def _product_above(decomposition: pd.DataFrame, name: str, layer: int) -> pd.Series:
    """The product over j from `layer` to L − 1 of the columns `name`_j, L of each snapshot.

    Missing where one of them is, and where the network has no such layer.
    """
    above = range(layer, layer_count(decomposition))
    factors = decomposition[[f"{name}_{j}" for j in above if f"{name}_{j}" in decomposition]]
    wanted = _depths(decomposition) - layer
    return factors.prod(axis="columns").where(factors.notna().sum(axis="columns") == wanted)


def cumulative_alignment(decomposition: pd.DataFrame, layer: int) -> pd.Series:
    """A_l = Π_{j≥l} α_j (E10) of each snapshot; A_L = 1, for there is no Jacobian above layer L.

    Missing where the network is no chain of layers, and where it has no layer l.
    """
    return _product_above(decomposition, "alignment", layer)


def factors(decomposition: pd.DataFrame, layer: int = 1) -> pd.DataFrame:
    """The five factors of E‖M_l‖² (E12) of each snapshot, one column each, named as `FACTORS`."""
    return pd.DataFrame(
        {
            "activation_ratio": column(decomposition, f"activation_ratio_{layer}"),
            "activation_norm2": column(decomposition, f"activation_norm2_{layer}"),
            "criterion_norm2": column(decomposition, "criterion_norm2"),
            "jacobian_product": _product_above(decomposition, "jacobian_norm2", layer),
            "alignment": cumulative_alignment(decomposition, layer),
        }
    )


def alignment_peaks(decomposition: pd.DataFrame) -> pd.DataFrame:
    """Peak of A_1 over the paper's times, the A of the power law (E14), of each run.

    A run that ends before them counts from its start on. Runs without alignments are left out.

    Returns: `IDENTITY`, `iteration` (of the peak), `alignment` (A_1 there).
    """
    later = after_transient(decomposition)
    seen = _in_paper(later)
    later = later[seen | ~seen.groupby([later[name] for name in IDENTITY]).transform("any")]
    later = later.assign(alignment=column(later, "alignment_product")).dropna(subset="alignment")
    peak = later.loc[later.groupby(IDENTITY)["alignment"].idxmax()]
    return peak[[*IDENTITY, "iteration", "alignment"]].reset_index(drop=True)


def alignment_at_loss(decomposition: pd.DataFrame, level: float) -> pd.DataFrame:
    """A_1 of each run where its training loss first comes down to `level`.

    Between the two snapshots beside it log A_1 is taken as linear in log 𝓛. Runs without
    alignments, and those that never come from above to `level`, are left out.

    Returns: `IDENTITY`, `alignment`.
    """
    later = after_transient(decomposition)
    later = later.assign(alignment=column(later, "alignment_product")).dropna(subset="alignment")
    rows = []
    for identity, run in later.groupby(IDENTITY, sort=True):
        below = np.flatnonzero(run["loss"].to_numpy() <= level)
        if len(below) == 0 or below[0] == 0:
            continue
        beside = run.iloc[[below[0], below[0] - 1]]  # by rising loss
        loss, alignment = np.log(beside["loss"]), np.log(beside["alignment"])
        alignment_there = np.exp(np.interp(np.log(level), loss, alignment))
        rows.append((*identity, float(alignment_there)))
    return pd.DataFrame(rows, columns=[*IDENTITY, "alignment"])


def growth(decomposition: pd.DataFrame, peak_of: str = "layer_norm2_1") -> pd.DataFrame:
    """By what factor each quantity grew from the start of the run to the peak of `peak_of`.

    All are taken at that one snapshot, so that the factors' growths multiply to their product's:
    E‖M‖² · ω to λ₁(G) (E5), the five of `FACTORS` to E‖M_1‖² (E12). Runs without `peak_of` are left
    out.

    Returns: `IDENTITY`, then for each quantity its ratio (no unit): `sharpness_gauss_newton`,
    `m_norm2`, `overlap`, `layer_norm2_1` and the five of `FACTORS`; missing as they are.
    """
    later = after_transient(decomposition)
    later = later[column(later, peak_of).notna()].reset_index(drop=True)
    quantities = ["sharpness_gauss_newton", "m_norm2", "overlap", "layer_norm2_1"]
    known = pd.DataFrame({name: column(later, name) for name in quantities})
    values = pd.concat([known, factors(later)], axis="columns")
    top = column(later, peak_of).groupby([later[name] for name in IDENTITY]).idxmax()
    return _over_start(later, values, values.loc[top])


def largest_growth(decomposition: pd.DataFrame) -> pd.DataFrame:
    """How far λ₁(𝓗) and each of the five factors rose at most above its start during the run.

    Unlike in `growth`, each quantity is taken at its own peak.

    Returns: `IDENTITY`, then for `sharpness_hessian` and each of `FACTORS` its ratio ≥ 1 (no unit);
    missing as they are.
    """
    later = after_transient(decomposition)
    sharpness = column(later, "sharpness_hessian").rename("sharpness_hessian")
    values = pd.concat([sharpness, factors(later)], axis="columns")
    return _over_start(later, values, values.groupby([later[name] for name in IDENTITY]).max())


def _over_start(later: pd.DataFrame, values: pd.DataFrame, of_run: pd.DataFrame) -> pd.DataFrame:
    """`IDENTITY`, and a row `of_run` of each run over the `values` of its first snapshot."""
    first = later.groupby(IDENTITY)["iteration"].idxmin()
    identity, start = (part.loc[first].reset_index(drop=True) for part in (later[IDENTITY], values))
    return pd.concat([identity, of_run.reset_index(drop=True) / start], axis="columns")


def time_share(frame: pd.DataFrame, condition: pd.Series) -> pd.DataFrame:
    """The share of each run's flow time in which `condition` holds, by the trapezoidal rule.

    `frame` has the snapshots in order; each counts by half the time to either neighbour, so that
    marks that lie densely weigh no more than others.

    Returns: `IDENTITY`, `value`.
    """
    keys = [frame[name] for name in IDENTITY]
    gaps = frame["flow_time"].groupby(keys).diff()
    weights = gaps.fillna(0.0) + gaps.groupby(keys).shift(-1).fillna(0.0)
    weights = weights.mask(weights.groupby(keys).transform("sum") == 0, 1.0)
    weighed = pd.DataFrame({"value": weights * condition, "weight": weights})
    sums = weighed.groupby(keys).sum()
    return (sums["value"] / sums["weight"]).rename("value").reset_index()


def stable_steps(decomposition: pd.DataFrame) -> pd.DataFrame:
    """Largest step at which gradient descent stays stable: as it was, and with alignment frozen.

    Implements: E13. The counterfactual sharpness at time t is
    ω Σ_l E‖M_l‖² A_l(10)/A_l(t) + max(λ₁(R), 0), an upper bound; s_cf is its maximum.

    Returns: `IDENTITY`, `max_sharpness` (of 𝓗), `counterfactual_sharpness` (s_cf), `stable_step`
    = 2/max λ₁(𝓗), `counterfactual_step` = 2/s_cf (units of flow time); s_cf and its step are
    missing of runs without alignments.
    """
    later = after_transient(decomposition)
    keys = [later[name] for name in IDENTITY]
    depths = _depths(later)
    total = pd.Series(0.0, index=later.index)
    for layer in range(1, layer_count(later) + 1):
        alignment = cumulative_alignment(later, layer)
        start = alignment.groupby(keys).transform("first")
        term = later[f"layer_norm2_{layer}"] * start / alignment
        total += term.where(depths >= layer, 0.0)
    total = total.where(depths > 0)
    overlap, residual = column(later, "overlap"), column(later, "sharpness_residual")
    bound = overlap * total + residual.clip(lower=0.0)
    summary = pd.DataFrame(
        {
            "max_sharpness": column(later, "sharpness_hessian"),
            "counterfactual_sharpness": bound,
        }
    )
    rows = summary.groupby(keys).max().reset_index()
    # A sharpness of zero or less puts no bound on the step.
    rows["stable_step"] = 2.0 / rows["max_sharpness"].where(rows["max_sharpness"] > 0, np.nan)
    rows["counterfactual_step"] = 2.0 / rows["counterfactual_sharpness"]
    return rows
