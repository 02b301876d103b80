"""What is read off the course of each run: one row a run out of one row a snapshot.

Everything here leaves out the transient, as the paper does: "the start" of a run is its first
snapshot at iteration 10 or later.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

TRANSIENT = 10  # iterations; the snapshots before this one are in no analysis

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
    """Each row's run folder below the results folder, `EXP/nN/init{i}-subset{s}`."""
    text = frame[IDENTITY].astype(str)
    seeds = "init" + text["init_seed"] + "-subset" + text["subset_seed"]
    return text["experiment"] + "/n" + text["n"] + "/" + seeds


def finished(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots of the runs that reached their target loss; others may have peaks to come."""
    done = runs.loc[runs["stopped"] == "target_loss", IDENTITY]
    return decomposition.merge(done, on=IDENTITY, how="inner")


def after_transient(decomposition: pd.DataFrame) -> pd.DataFrame:
    """The snapshots at iteration 10 and later, in the order of run and iteration."""
    kept = decomposition[decomposition["iteration"] >= TRANSIENT]
    return kept.sort_values([*IDENTITY, "iteration"], ignore_index=True)


def layer_count(decomposition: pd.DataFrame) -> int:
    """L, from the columns `layer_norm2_1` … `layer_norm2_L`."""
    return sum(name.startswith("layer_norm2_") for name in decomposition.columns)


def cumulative_alignment(decomposition: pd.DataFrame, layer: int) -> pd.Series:
    """A_l = Π_{j≥l} α_j (E10) of each snapshot; A_L = 1, for there is no Jacobian above layer L."""
    columns = [f"alignment_{j}" for j in range(layer, layer_count(decomposition))]
    return decomposition[columns].prod(axis="columns")


def factors(decomposition: pd.DataFrame, layer: int = 1) -> pd.DataFrame:
    """The five factors of E‖M_l‖² (E12) of each snapshot, one column each, named as `FACTORS`."""
    jacobians = [f"jacobian_norm2_{j}" for j in range(layer, layer_count(decomposition))]
    return pd.DataFrame(
        {
            "activation_ratio": decomposition[f"activation_ratio_{layer}"],
            "activation_norm2": decomposition[f"activation_norm2_{layer}"],
            "criterion_norm2": decomposition["criterion_norm2"],
            "jacobian_product": decomposition[jacobians].prod(axis="columns"),
            "alignment": cumulative_alignment(decomposition, layer),
        }
    )


def alignment_peaks(decomposition: pd.DataFrame) -> pd.DataFrame:
    """Peak of A_1 over the iterations from 10 on, the A of the power law (E14), of each run.

    Returns: `IDENTITY`, `iteration` (of the peak), `alignment` (A_1 there).
    """
    later = after_transient(decomposition)
    peak = later.loc[later.groupby(IDENTITY)["alignment_product"].idxmax()]
    peak = peak.rename(columns={"alignment_product": "alignment"})
    return peak[[*IDENTITY, "iteration", "alignment"]].reset_index(drop=True)


def growth(decomposition: pd.DataFrame, peak_of: str = "layer_norm2_1") -> pd.DataFrame:
    """By what factor each quantity grew from the start of the run to the peak of `peak_of`.

    Measured at one snapshot, so that the growths of the factors multiply to that of their product:
    E‖M‖² · ω to λ₁(G) (E5), the five of `FACTORS` to E‖M_1‖² (E12).

    Returns: `IDENTITY`, `start` and `peak` (iterations), then one ratio (no unit) a quantity:
    `sharpness_hessian`, `sharpness_gauss_newton`, `m_norm2`, `overlap`, `layer_norm2_1` and the
    five of `FACTORS`.
    """
    later = after_transient(decomposition)
    quantities = [
        "sharpness_hessian",
        "sharpness_gauss_newton",
        "m_norm2",
        "overlap",
        "layer_norm2_1",
    ]
    values = pd.concat([later[quantities], factors(later)], axis="columns")
    groups = later.groupby(IDENTITY)
    first = groups["iteration"].idxmin()
    top = groups[peak_of].idxmax()
    ratios = values.loc[top].reset_index(drop=True) / values.loc[first].reset_index(drop=True)
    identity = later.loc[first, IDENTITY].reset_index(drop=True)
    identity["start"] = later.loc[first, "iteration"].to_numpy()
    identity["peak"] = later.loc[top, "iteration"].to_numpy()
    return pd.concat([identity, ratios], axis="columns")


def largest_growth(decomposition: pd.DataFrame) -> pd.DataFrame:
    """The most that λ₁(𝓗), ω and each of the five factors exceeded its start during the run.

    Unlike in `growth`, each quantity is taken at its own peak.

    Returns: `IDENTITY`, then one ratio ≥ 1 (no unit) a quantity.
    """
    later = after_transient(decomposition)
    values = pd.concat([later[["sharpness_hessian", "overlap"]], factors(later)], axis="columns")
    groups = later.groupby(IDENTITY)
    first = groups["iteration"].idxmin()
    keys = [later[name] for name in IDENTITY]
    highest = values.groupby(keys).max().reset_index(drop=True)
    ratios = highest / values.loc[first].reset_index(drop=True)
    return pd.concat([later.loc[first, IDENTITY].reset_index(drop=True), ratios], axis="columns")


def stable_steps(decomposition: pd.DataFrame) -> pd.DataFrame:
    """Largest step at which gradient descent is stable throughout, and had alignment stood still.

    Implements: E13. The counterfactual sharpness at time t is
    ω Σ_l E‖M_l‖² A_l(10)/A_l(t) + max(λ₁(R), 0), an upper bound; s_cf is its maximum.

    Returns: `IDENTITY`, `max_sharpness` (of 𝓗), `counterfactual_sharpness` (s_cf), `stable_step`
    = 2/max λ₁(𝓗), `counterfactual_step` = 2/s_cf (units of flow time).
    """
    later = after_transient(decomposition)
    keys = [later[name] for name in IDENTITY]
    total = pd.Series(0.0, index=later.index)
    for layer in range(1, layer_count(later) + 1):
        alignment = cumulative_alignment(later, layer)
        start = alignment.groupby(keys).transform("first")
        total += later[f"layer_norm2_{layer}"] * start / alignment
    bound = later["overlap"] * total + later["sharpness_residual"].clip(lower=0.0)
    summary = pd.DataFrame(
        {"max_sharpness": later["sharpness_hessian"], "counterfactual_sharpness": bound}
    )
    rows = summary.groupby(keys).max().reset_index()
    # A sharpness of zero or less puts no bound on the step.
    rows["stable_step"] = 2.0 / rows["max_sharpness"].where(rows["max_sharpness"] > 0, np.nan)
    rows["counterfactual_step"] = 2.0 / rows["counterfactual_sharpness"]
    return rows
