"""What Lowell & Kastner 2024 say of their runs in words, as claims that runs can be judged by."""

from __future__ import annotations

from eosflow.results import claim_measures, courses, paper
from eosflow.results.judging import Claim, Kind

LOST = "(number not transcribed)"  # the paper gives one; only the claim's words are checked

CLAIMS = (
    Claim(
        "residual-absolute",
        "λ₁(R) is never larger than the 56.74 that the authors saw after the transient: largest "
        "over snapshots. No law, for it is in units of loss per squared weight.",
        "≤ 56.74 (seen)",
        "",
        claim_measures.residual_absolute,
        Kind.SEEN,
        paper.LARGEST_RESIDUAL,
        at_most=True,
    ),
    Claim(
        "residual-share",
        "λ₁(R) never exceeds 9.9 % of λ₁(𝓗) at the same snapshot after the transient.",
        "≤ 9.9 %",
        "%",
        claim_measures.residual_share,
        Kind.EVERY,
        paper.RESIDUAL_SHARE,
        at_most=True,
    ),
    Claim(
        "gauss-newton-close",
        "λ₁(𝓗) is always within 10.1 % of λ₁(G): largest |λ₁(𝓗)/λ₁(G) − 1| over snapshots.",
        "≤ 10.1 %",
        "%",
        claim_measures.gauss_newton_close,
        Kind.EVERY,
        paper.GAUSS_NEWTON_GAP,
        at_most=True,
    ),
    Claim(
        "sharpness-rises",
        "The sharpness can rise: six runs of an experiment have their largest λ₁(𝓗) above its "
        "start. Measured: their ratio.",
        LOST,
        "x",
        claim_measures.sharpness_rises,
        Kind.SOME,
        1.0,
    ),
    Claim(
        "sharpness-rises-every-iteration",
        "The same by the λ₁(𝓗) of every iteration from 10 on, which exponential Euler finds for "
        "its steps.",
        LOST,
        "x",
        claim_measures.sharpness_rises_every_iteration,
        Kind.SOME,
        1.0,
        times=courses.after_transient,
    ),
    Claim(
        "norm-not-overlap",
        "The sharpness rises because E‖M‖² rises, not ω: from the start to the peak of λ₁(G), more "
        "than half of the growth of log λ₁(G) = log E‖M‖² + log ω is that of log E‖M‖². Measured: "
        "its share (above 100 % where ω falls).",
        "> 50 % (in words)",
        "%",
        claim_measures.norm_not_overlap,
        Kind.USUAL,
        0.5,
    ),
    Claim(
        "first-layer-usual",
        "E‖M_l‖² is usually largest in the first layer: in each experiment for more than half of "
        "the flow time. Measured: the share of flow time.",
        "> 50 % (in words)",
        "%",
        claim_measures.first_layer_usual,
        Kind.USUAL,
        0.5,
    ),
    Claim(
        "first-layer-bound",
        "E‖M_l‖² of no later layer (l > 1) is more than 37 % above E‖M_1‖² at the same snapshot. "
        "Measured: the largest excess (negative where the first layer is always the largest).",
        "≤ 37 %",
        "%",
        claim_measures.first_layer_bound,
        Kind.EVERY,
        paper.LATER_LAYER_EXCESS,
        at_most=True,
    ),
    Claim(
        "alignment-rises",
        "A_1 increases: its peak is above its start. Measured: their ratio.",
        LOST,
        "x",
        claim_measures.alignment_rises,
        Kind.USUAL,
        1.0,
    ),
    Claim(
        "alignment-rises-most",
        "A_1 rises the most of the five factors of E‖M_1‖²: its largest ratio to its start exceeds "
        "that of each other factor. Measured: A_1's ratio over the largest of the other four.",
        LOST,
        "x",
        claim_measures.alignment_rises_most,
        Kind.USUAL,
        1.0,
    ),
    Claim(
        "alignment-explains",
        "The rise is primarily that of A_1: from the start to the peak of E‖M_1‖², more than half "
        "of the growth of log E‖M_1‖² is that of log A_1. Measured: its share.",
        "> 50 % (in words)",
        "%",
        claim_measures.alignment_explains,
        Kind.USUAL,
        0.5,
    ),
    Claim(
        "jacobians-rise",
        "Π E‖D_j‖² increases: it is larger at the peak of A_1 than at the start. Measured: their "
        "ratio.",
        LOST,
        "x",
        claim_measures.jacobians_rise,
        Kind.USUAL,
        1.0,
    ),
    Claim(
        "criterion-declines",
        "E‖H_ℓ^½‖² is stable or declines: it is no larger at the peak of A_1 than at the start. "
        "Measured: their ratio.",
        LOST,
        "x",
        claim_measures.criterion_declines,
        Kind.USUAL,
        1.0,
        at_most=True,
    ),
    Claim(
        "stable-without-alignment",
        "Had no alignment changed after the transient, gradient descent would be stable at larger "
        "steps: 2/s_cf exceeds 2/max λ₁(𝓗). Measured: their ratio, a lower bound of the gain.",
        LOST,
        "x",
        claim_measures.stable_without,
        Kind.USUAL,
        1.0,
    ),
    Claim(
        "negative-dominant",
        "The eigenvalue largest in absolute value is negative in at most 0.009 % of the iterations "
        "of any experiment, after the transient. Measured: the share of iterations whose search "
        "met one; it must also be ruled out at every snapshot, by −λ_P(R) < λ₁(𝓗).",
        "≤ 0.009 %",
        "%",
        claim_measures.negative_dominant,
        Kind.EVERY,
        paper.NEGATIVE_DOMINANT,
        at_most=True,
    ),
    Claim(
        "power-law-exponent",
        "Peak alignment grows with N: b > 0 in the power law of every (dataset, criterion), its "
        "95 % interval above 0.",
        "> 0 (0.20 to 0.67)",
        "",
        claim_measures.exponent,
        Kind.USUAL,
        0.0,
    ),
    Claim(
        "power-law-fit",
        "The power law describes the runs: R² (log space) of every (dataset, criterion) is at "
        "least 0.74.",
        "≥ 0.74 (0.74 to 0.98)",
        "",
        claim_measures.determination,
        Kind.USUAL,
        min(each.r_squared for each in paper.EXPERIMENTS.values()),
    ),
)
