"""The ways of drawing: what each shows, in words, and from what. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One way of drawing: a title, what to see, and the function `module:function` of all runs.

    The curves of one experiment are panels of `curves.PANELS`, and have no function. `data` is None
    if it is drawn from the tidy tables, and `dice` for a Dice subset. `needs` are the columns of
    the decomposition without which there is nothing to draw.
    """

    title: str
    caption: str
    function: str = ""
    data: str | None = None
    needs: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "sharpness": Kind(
        "Sharpness of the Hessian and of its two parts",
        "The largest eigenvalues of the Hessian 𝓗 = G + R, of its Gauss–Newton part G and of the "
        "residual R, on one logarithmic scale, and the ratio of the first two. While λ₁(R) is far "
        "below the other two, the rise of the sharpness is the rise of λ₁(G).",
        needs=("sharpness_hessian", "sharpness_gauss_newton", "sharpness_residual"),
    ),
    "overlap": Kind(
        "Mean squared norm of M, and the overlap ratio",
        "λ₁(G) is the product of the two panels. Both span the same number of decades, so slopes "
        "compare. The overlap ratio ω measures how far the examples share one direction; it lies "
        "between 1/N and 1.",
        needs=("m_norm2", "overlap"),
    ),
    "layers_three": Kind(
        "Mean squared norm of M, by layer (1, 3 and 5)",
        "E‖M_l‖² for the parameters of one layer, on one logarithmic scale. In the paper layer 1 "
        "is usually the largest.",
        needs=("layer_norm2_1",),
    ),
    "factors": Kind(
        "The five factors of E‖M₁‖²",
        "The last panel is the product of the other five. All panels span the same number of "
        "decades, so slopes compare: the panel that climbs like the product explains it. In the "
        "paper this is the alignment A₁.",
        needs=("activation_ratio_1", "activation_norm2_1", "criterion_norm2", "alignment_product"),
    ),
    "dice_examples": Kind(
        "Dice: examples of the six classes",
        "One row per class. Place, size and line width are random. If points are discs, those "
        "smaller than a pixel may vanish: some fives, which have a point at the centre, show none.",
        data="dice",
        function="eosflow.results.figures.examples:dice_examples",
    ),
    "layers": Kind(
        "Mean squared norm of M, by layer",
        "All layers on one logarithmic scale, input side first. Compare each panel with the first: "
        "in the paper no later layer is more than 37 % above it.",
        needs=("layer_norm2_1",),
    ),
    "activation_ratios": Kind(
        "Activation ratios",
        "Above, ρ: how far examples with large activations also have large Jacobians of the "
        "outputs in the preactivations (1 if the two are unrelated). Below, γ: the factor by which "
        "a layer changes the squared norm of its input.",
        needs=("activation_ratio_1",),
    ),
    "alignment": Kind(
        "Alignment ratio of each layer",
        "The gain of a signal sent back through layer l, as a share of the largest possible gain; "
        "1 is perfect alignment with the top singular vectors of that layer's Jacobian.",
        needs=("alignment_1",),
    ),
    "jacobian_norms": Kind(
        "Mean squared norm of each layerwise Jacobian",
        "Squared operator norms of ∂z(l+1)/∂z(l), averaged over the examples, on one logarithmic "
        "scale: the largest possible gain of a signal sent back through the layer.",
        needs=("jacobian_norm2_1",),
    ),
    "cumulative_alignment": Kind(
        "Cumulative alignment from each layer to the output",
        "The product of the alignment ratios of layer l and of all layers above it: the gain of a "
        "signal from the output to layer l, as a share of the largest possible gain.",
        needs=("alignment_1",),
    ),
    "power_law": Kind(
        "Peak alignment against the number of examples",
        "One point per run that reached its target loss. The line is the least-squares power law "
        "with its 95 % band over subsets; the orange band contains all laws that round to the "
        "paper's a and b. On these logarithmic axes a power law is a straight line with slope b; "
        "its bend, the coefficient of (log N)², is 0.",
        function="eosflow.results.figures.summaries:power_law",
    ),
    "stable_step": Kind(
        "The largest stable step of gradient descent, with and without alignment",
        "Blue: 2 / max λ₁(𝓗), the largest step that is stable throughout training. Orange: a "
        "lower bound of it if every alignment kept its value after the transient; if the orange "
        "mark is lower, the bound says nothing. One point per run, a bar at the median.",
        function="eosflow.results.figures.summaries:stable_step",
    ),
    "growth": Kind(
        "Which factor explains the rise?",
        "The growth of E‖M₁‖² and of each of its five factors, from the end of the transient to "
        "the peak of E‖M₁‖²: geometric means over the runs of one size, whiskers from the smallest "
        "to the largest run. On the logarithmic scale the five bars add up to the first. Sizes "
        "whose E‖M₁‖² is largest at the start have no bars.",
        function="eosflow.results.figures.summaries:growth",
    ),
}
