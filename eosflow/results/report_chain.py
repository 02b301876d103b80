"""The argument of the report: the chain from sharpness to alignment, and where it is seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import gmean

from eosflow.results import run_summaries, tables
from eosflow.results.figures import title_of


class Shown(NamedTuple):
    """A claim on the page: its heading, the kind of figure it is seen in, the quantity to see."""

    heading: str
    kind: str
    quantity: str


# The claims of claims.csv.
SHOWN: dict[str, Shown] = {
    "residual-absolute": Shown(
        "The largest λ₁(R) that the authors saw is 56.74", "sharpness", "sharpness_residual"
    ),
    "residual-share": Shown("λ₁(R) is at most 9.9 % of λ₁(𝓗)", "sharpness", "sharpness_residual"),
    "gauss-newton-close": Shown(
        "λ₁(𝓗) is within 10.1 % of λ₁(G)", "sharpness", "sharpness_gauss_newton"
    ),
    "sharpness-rises": Shown(
        "The sharpness λ₁(𝓗) can rise: at snapshots", "sharpness", "sharpness_hessian"
    ),
    "sharpness-rises-every-iteration": Shown(
        "The sharpness λ₁(𝓗) can rise: at every iteration", "sharpness", "sharpness_hessian"
    ),
    "norm-not-overlap": Shown(
        "The sharpness rises with E‖M‖², not with the overlap ω", "overlap", "m_norm2"
    ),
    "first-layer-usual": Shown(
        "E‖M_l‖² is usually largest in the first layer", "layers", "layer_norm2_1"
    ),
    "first-layer-bound": Shown(
        "No later E‖M_l‖² is more than 37 % above the first layer's", "layers", "layer_norm2_1"
    ),
    "alignment-rises": Shown("The alignment A₁ rises", "factors", "alignment"),
    "alignment-rises-most": Shown("A₁ rises the most of the five factors", "factors", "alignment"),
    "alignment-explains": Shown(
        "A₁ explains more than half of the rise of E‖M₁‖²", "growth", "alignment"
    ),
    "jacobians-rise": Shown("The Jacobians Π E‖D_j‖² grow", "factors", "jacobian_product"),
    "criterion-declines": Shown(
        "The criterion's E‖H_ℓ^½‖² is stable or declines", "factors", "criterion_norm2"
    ),
    "stable-without-alignment": Shown(
        "With constant alignment, gradient descent would be stable at larger steps",
        "stable_step",
        "sharpness_hessian",
    ),
    "negative-dominant": Shown(
        "The dominant eigenvalue is negative in at most 0.009 % of the iterations",
        "sharpness",
        "sharpness_hessian",
    ),
    "power-law-exponent": Shown("The peak alignment grows with N: b > 0", "power_law", "alignment"),
    "power-law-fit": Shown(
        "A power law describes the peak alignment: R² ≥ 0.74", "power_law", "alignment"
    ),
}


def growth(decomposition: pd.DataFrame, runs: pd.DataFrame) -> list[dict[Any, Any]]:
    """By what factor each link of the chain grew from the start to the peak of E‖M_1‖².

    Geometric means over the finished runs of one experiment and N, so that products stay exact:
    E‖M‖² · ω is λ₁(G), and the five factors give E‖M_1‖².

    Returns: one row per experiment and N: `experiment` (its title), `n`, `runs` and the columns of
    `run_summaries.growth`; none if no run has these numbers.
    """
    grown = run_summaries.growth(run_summaries.finished(decomposition, runs))
    groups = grown.groupby(["experiment", "n"])
    columns = [name for name in grown if name not in run_summaries.IDENTITY]
    means: pd.DataFrame = groups[columns].agg(gmean)
    means = means.assign(runs=groups.size()).reset_index()
    means = tables.in_order(means, ["experiment", "n"], means["experiment"])
    means["experiment"] = means["experiment"].map(title_of)
    return means.to_dict("records")
