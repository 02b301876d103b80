"""The ways of drawing: what each shows, in words, and from what. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One way of drawing: the function `module:function`, a title, and what to see.

    `data` is None if it is drawn from the tidy tables, and `dice` for a Dice subset. `needs` are
    the columns of the decomposition without which there is nothing to draw.
    """

    function: str
    title: str
    caption: str
    data: str | None = None
    needs: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "sharpness": Kind(
        "eosflow.results.figures.curves:sharpness",
        "Sharpness of the Hessian and of its two parts",
        "The largest eigenvalues of the Hessian 𝓗, of its Gauss–Newton part G and of the residual "
        "R, on one logarithmic scale, and the ratio of the first two. 𝓗 = G + R: while R lies far "
        "below the other two, the rise of the sharpness is the rise of λ₁(G).",
        needs=("sharpness_hessian", "sharpness_gauss_newton", "sharpness_residual"),
    ),
    "overlap": Kind(
        "eosflow.results.figures.curves:overlap",
        "Mean squared norm of M, and the overlap ratio",
        "λ₁(G) is the product of the two panels, which span the same number of decades, so that "
        "slopes compare. The overlap ratio ω says how far the examples share one direction; it "
        "lies between 0 and 1.",
        needs=("m_norm2", "overlap"),
    ),
    "layers_three": Kind(
        "eosflow.results.figures.curves:layers_three",
        "Mean squared norm of M, by layer (1, 3 and 5)",
        "The share of E‖M‖² that comes from the parameters of one layer, on one logarithmic "
        "scale. In the paper layer 1 is usually the largest, so that its factors are the ones to "
        "look at.",
        needs=("layer_norm2_1",),
    ),
    "factors": Kind(
        "eosflow.results.figures.curves:factors",
        "The five factors of E‖M₁‖²",
        "The last panel is the product of the other five. All panels span the same number of "
        "decades, so that slopes compare: look for the panel that climbs as the product does. In "
        "the paper it is that of the alignment A₁.",
        needs=("activation_ratio_1", "activation_norm2_1", "criterion_norm2", "alignment_product"),
    ),
    "dice_examples": Kind(
        "eosflow.results.figures.examples:dice_examples",
        "Dice: examples of the six classes",
        "One row per class: one point, two points, a line for three, an outline for four, an "
        "outline with a point at its centre for five, two parallel lines for six. Place, size and "
        "line width are random. A point below a pixel is not drawn, so some fives show none.",
        data="dice",
    ),
    "layers": Kind(
        "eosflow.results.figures.curves:layers",
        "Mean squared norm of M, by layer",
        "All layers on one logarithmic scale, input side first. Compare each panel with the first: "
        "in the paper no later layer lies more than 37 % above it.",
        needs=("layer_norm2_1",),
    ),
    "activation_ratios": Kind(
        "eosflow.results.figures.curves:activation_ratios",
        "Activation ratios",
        "Above, ρ: how far examples with large activations are also those with large "
        "preactivation Jacobians (1 if the two are unrelated). Below, γ: by how much a layer "
        "changes the squared norm of its input.",
        needs=("activation_ratio_1",),
    ),
    "alignment": Kind(
        "eosflow.results.figures.curves:alignment",
        "Alignment ratio of each layer",
        "The part of the largest possible gain that the signal sent back through layer l "
        "realises; 1 would be perfect alignment with the top singular vectors of that layer's "
        "Jacobian.",
        needs=("alignment_1",),
    ),
    "jacobian_norms": Kind(
        "eosflow.results.figures.curves:jacobian_norms",
        "Mean squared norm of each layerwise Jacobian",
        "Squared operator norms of ∂z(l+1)/∂z(l), averaged over the examples, on one logarithmic "
        "scale: the largest gain that a signal sent back through the layer could have.",
        needs=("jacobian_norm2_1",),
    ),
    "cumulative_alignment": Kind(
        "eosflow.results.figures.curves:cumulative_alignment",
        "Cumulative alignment from each layer to the output",
        "The product of the alignment ratios of layer l and of all layers above it: the part of "
        "the largest possible gain that a signal keeps on its way from the output to layer l.",
        needs=("alignment_1",),
    ),
    "power_law": Kind(
        "eosflow.results.figures.summaries:power_law",
        "Peak alignment against the number of examples",
        "One point per run that reached its target loss. The line is the least-squares power law "
        "with its 95 % band over subsets; the shaded band is the paper's law, as wide as its "
        "rounding leaves it. The bend is the coefficient of (log N)². On these logarithmic axes a "
        "power law is a straight line, whose bend is 0 and whose slope is the exponent b.",
    ),
    "stable_step": Kind(
        "eosflow.results.figures.summaries:stable_step",
        "The largest stable step of gradient descent, with and without alignment",
        "Blue: 2 / max λ₁(𝓗), the largest step that stays stable throughout training. Orange: a "
        "lower bound of what it would be, had every alignment kept the value it had after the "
        "transient. One point per run, a bar at the median. The gap between the two is what "
        "alignment costs; if the orange mark is lower, the bound says nothing.",
    ),
    "growth": Kind(
        "eosflow.results.figures.summaries:growth",
        "Which factor explains the rise?",
        "By what factor E‖M₁‖² and each of its five factors changed from the end of the transient "
        "to the peak of E‖M₁‖²: geometric means over the runs of one size, whiskers from the "
        "smallest to the largest run. On the logarithmic scale the five bars add up to the first. "
        "Sizes whose E‖M₁‖² is largest at the start have no bars.",
    ),
}
