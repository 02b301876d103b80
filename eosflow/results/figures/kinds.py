"""The ways of drawing: what each shows, in words, and from what. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from eosflow.runs.studies import STUDIES, table_of


@dataclass(frozen=True)
class Kind:
    """One way of drawing: the function `module:function`, a title, and what to see.

    `data` is None where it is drawn from the tidy tables; otherwise `dice` for a Dice subset, or
    the path of a study's table in the results folder. `needs` are the columns of the decomposition
    without which there is nothing to draw.
    """

    function: str
    title: str
    caption: str
    data: str | None = None
    needs: tuple[str, ...] = ()

    @property
    def study(self) -> str | None:
        """The study that it is drawn from, if it is."""
        return next((name for name in STUDIES if self.data == table_of(name)), None)


# How every figure of courses is to be read.
_OF_CURVES = (
    " Thin lines are runs; the thick line is the median of one N, its band goes from the lower to "
    "the upper quartile, both as far as all runs of that N go. The horizontal axis is logarithmic "
    "where the longest run is more than four times as long as the shortest."
)

KINDS: dict[str, Kind] = {
    "sharpness": Kind(
        "eosflow.results.figures.curves:sharpness",
        "Sharpness of the Hessian and of its two parts",
        "The largest eigenvalues of the Hessian 𝓗, of its Gauss–Newton part G and of the residual "
        "R, on one logarithmic scale. 𝓗 = G + R: where R lies far below the other two, the rise of "
        "the sharpness is the rise of λ₁(G)." + _OF_CURVES,
        needs=("sharpness_hessian", "sharpness_gauss_newton", "sharpness_residual"),
    ),
    "overlap": Kind(
        "eosflow.results.figures.curves:overlap",
        "Mean squared norm of M, and the overlap ratio",
        "λ₁(G) is the product of the two panels, which span the same number of decades, so that "
        "slopes compare. The overlap ratio ω says how far the examples share one direction; it "
        "lies between 0 and 1." + _OF_CURVES,
        needs=("m_norm2", "overlap"),
    ),
    "layers_three": Kind(
        "eosflow.results.figures.curves:layers_three",
        "Mean squared norm of M, by layer (1, 3 and 5)",
        "The share of E‖M‖² that comes from the parameters of one layer, on one logarithmic "
        "scale. In the paper layer 1 is usually the largest, so that its factors are the ones to "
        "look at." + _OF_CURVES,
        needs=("layer_norm2_1",),
    ),
    "factors": Kind(
        "eosflow.results.figures.curves:factors",
        "The five factors of E‖M₁‖²",
        "The last panel is the product of the other five. All panels span the same number of "
        "decades, so that slopes compare: look for the panel that climbs as the product does. In "
        "the paper it is that of the alignment A₁." + _OF_CURVES,
        needs=("activation_ratio_1", "activation_norm2_1", "criterion_norm2", "alignment_product"),
    ),
    "dice_examples": Kind(
        "eosflow.results.figures.examples:dice_examples",
        "Dice: examples of the six classes",
        "One row per class: one point, two points, a line for three, an outline for four, the "
        "outline with its centre for five, two parallel lines for six. Place, size and line width "
        "are drawn at random.",
        data="dice",
    ),
    "layers": Kind(
        "eosflow.results.figures.curves:layers",
        "Mean squared norm of M, by layer",
        "All layers on one logarithmic scale, input side first. Compare each panel with the first: "
        "in the paper no later layer lies more than 37 % above it." + _OF_CURVES,
        needs=("layer_norm2_1",),
    ),
    "activation_ratios": Kind(
        "eosflow.results.figures.curves:activation_ratios",
        "Activation ratios",
        "Above, ρ: how far examples with large activations are also those with large "
        "preactivation Jacobians (1 where the two are unrelated). Below, γ: by how much a layer "
        "changes the squared norm of its input." + _OF_CURVES,
        needs=("activation_ratio_1",),
    ),
    "alignment": Kind(
        "eosflow.results.figures.curves:alignment",
        "Alignment ratio of each layer",
        "The part of the largest possible gain that the signal sent back through layer l "
        "realises; 1 would be perfect alignment with the top singular vectors of that layer's "
        "Jacobian." + _OF_CURVES,
        needs=("alignment_1",),
    ),
    "jacobian_norms": Kind(
        "eosflow.results.figures.curves:jacobian_norms",
        "Mean squared norm of each layerwise Jacobian",
        "Squared operator norms of ∂z(l+1)/∂z(l), averaged over the examples, on one logarithmic "
        "scale: the largest gain that a signal sent back through the layer could have."
        + _OF_CURVES,
        needs=("jacobian_norm2_1",),
    ),
    "cumulative_alignment": Kind(
        "eosflow.results.figures.curves:cumulative_alignment",
        "Cumulative alignment from each layer to the output",
        "The product of the alignment ratios of layer l and of all layers above it: the part of "
        "the largest possible gain that a signal keeps on its way from the output to layer l."
        + _OF_CURVES,
        needs=("alignment_1",),
    ),
    "power_law": Kind(
        "eosflow.results.figures.summaries:power_law",
        "Peak alignment against the number of examples",
        "One point per run that reached its target loss; the line is the least-squares power law "
        "with its 95 % band over subsets, the dashed line the paper's fit. On these logarithmic "
        "scales a power law is a straight line, and its slope the exponent.",
    ),
    "stable_step": Kind(
        "eosflow.results.figures.summaries:stable_step",
        "The largest stable step of gradient descent, with and without alignment",
        "Blue: 2 / max λ₁(𝓗), the largest step that stays stable throughout training. Red: a "
        "lower bound of what it would be, had every alignment kept the value it had after the "
        "transient. One point per run, a bar at the median. The gap between the two is what "
        "alignment costs; where the red mark is the lower one the bound is too loose to tell.",
    ),
    "growth": Kind(
        "eosflow.results.figures.summaries:growth",
        "Which factor explains the rise?",
        "By what factor E‖M₁‖² and each of its five factors changed from the end of the transient "
        "to the peak of E‖M₁‖²: geometric means over the runs of one size, whiskers from the "
        "smallest to the largest run. On the logarithmic scale the five bars add up to the first. "
        "Sizes whose E‖M₁‖² is largest at the start have no bars.",
    ),
    "work_precision": Kind(
        "eosflow.results.figures.work_precision:work_precision",
        "How near to the true flow, for how much work",
        "On Dice at 16 × 16 pixels, N = 60, with hidden layers of 64, the distance of a scheme's "
        "end point to the true flow over the distance travelled, against the work in block "
        "products; one panel per flow time. Lower left is better. Along a line the steps get "
        "smaller: the error of exponential Euler falls in proportion to them (first order), that "
        "of exponential Heun with their square (second order). Steps of RK4 and of gradient "
        "descent are set by 1/λ₁, so that their work grows with the sharpness; that of the "
        "exponential schemes does not. Exponential Rosenbrock is "
        "given a tolerance, from 10⁻² to 10⁻⁶.",
        data="studies/work-precision/table.csv",
    ),
    "work_precision_full_width": Kind(
        "eosflow.results.figures.work_precision:work_precision_full_width",
        "How near to the true flow, for how much work: at the paper's width",
        "The same as the figure work-precision, with hidden layers of 512. The smallest steps of "
        "exponential Euler, exponential Heun and RK4 are left out, for they would take minutes.",
        data="studies/work-precision-full-width/table.csv",
    ),
    "transient": Kind(
        "eosflow.results.figures.transient:transient",
        "The start of training: the flow, and the steps that are taken for it",
        "Loss, sharpness, alignment and E‖M‖² over the first unit of flow time on one small "
        "problem; time is logarithmic. Two tolerances of the adaptive scheme and gradient descent "
        "with a small step show the same course, which is smooth. Exponential Euler with the "
        "paper's step leaves it in the shaded iterations: its zigzag there is one of steps that "
        "are too long, not of the flow.",
        data="studies/transient/table.csv",
    ),
    "edge_of_stability": Kind(
        "eosflow.results.figures.edge_of_stability:edge_of_stability",
        "What gradient descent does where the flow sharpens",
        "The same network and data from the same start, by the flow and by gradient descent at "
        "three learning rates η, at equal flow time (η times the number of steps). The flow's "
        "sharpness passes the dashed lines, 2/η; gradient descent, which follows the flow up to "
        "there, is held near its line and leaves the flow. Above, a network of 300 parameters "
        "fitted to twenty points of a Chebyshev polynomial (cheb-4, squared error, seed 0 of "
        "five); below, sixty 16 × 16 images of Dice at width 64 (cross-entropy, one seed).",
        data="studies/edge-of-stability/table.csv",
    ),
    "edge_cifar10": Kind(
        "eosflow.results.figures.edge_of_stability:edge_cifar10",
        "Gradient descent where the flow sharpens, on CIFAR-10",
        "A tanh network on photographs of CIFAR-10 from one start, by the flow and by gradient "
        "descent at three learning rates η, at equal flow time (η times the number of steps); one "
        "seed of several. Dashed: 2/η, beyond which gradient descent is unstable on a quadratic.",
        data="studies/edge-cifar10/table.csv",
    ),
    "sgd_grid": Kind(
        "eosflow.results.figures.sgd_grid:sgd_grid",
        "Sharpness under SGD, by learning rate and by batch size",
        "The two largest eigenvalues of the Hessian of the whole training loss along SGD, from the "
        "first look after the start on: at several learning rates and one batch size, at several "
        "batch sizes and one learning rate, and the mean sharpness of each run against learning "
        "rate over batch size. Did only that quotient count, marks above one another would agree.",
        data="studies/sgd-grid/table.csv",
    ),
    "spectra": Kind(
        "eosflow.results.figures.spectra:spectra",
        "The largest eigenvalues over training, with the accuracies",
        "The largest eigenvalues of the Hessian of the training loss, darkest first, and below "
        "them the share of examples that are classified rightly, of those trained on and of "
        "held-out ones; one column per experiment. Open rings mark looks at which a search did "
        "not converge.",
        data="studies/spectra/table.csv",
    ),
    "optimizer_ends": Kind(
        "eosflow.results.figures.optimizer_ends:optimizer_ends",
        "Which optimizer ends where",
        "A tanh network on photographs of CIFAR-10, after the same number of gradients: accuracy "
        "on held-out examples against that on the training examples, and against the sharpness, "
        "the largest eigenvalue of the Hessian of the training loss. Marks are medians over the "
        "seeds, bars reach from the lower to the upper quartile. Early stopping is that of SGD "
        "with the larger learning rate, and is chosen by held-out examples that enter no number "
        "here.",
        data="studies/optimizer-ends/table.csv",
    ),
    "nudged_sgd": Kind(
        "eosflow.results.figures.nudged_sgd:nudged_sgd",
        "Nudged-SGD: a factor γ on the step in the sharpest directions",
        "One start and the same batches per seed, with the part of each step in the top five "
        "eigenvectors of the Hessian multiplied by γ: γ = 1 is SGD, γ = 0 leaves that part out "
        "(Bulk-SGD), Dominant is that part alone. A ring per run, a bar at the median. The "
        "held-out examples are images of the test split.",
        data="studies/nudged-sgd/table.csv",
    ),
    "minibatches": Kind(
        "eosflow.results.figures.minibatches:minibatches",
        "What the steps of SGD do along the sharpest directions",
        "Left, the mean cosine of minibatch gradients with each of the top five eigenvectors of "
        "the Hessian, and that of a random direction. Middle, the mean change of the loss of all "
        "examples by α times a step of SGD: by its part along the top eigenvector v₁, along a "
        "random direction, and by the whole step; left of α = 1 is a shorter step than SGD takes. "
        "The scale there is linear up to 0.1. "
        "Right, the mean sharpness that single minibatches see against that of all examples, a "
        "ring per run and look. Lines are medians over the seeds, thin ones single runs.",
        data="studies/minibatches/table.csv",
    ),
    "optimizer_edges": Kind(
        "eosflow.results.figures.optimizer_edges:optimizer_edges",
        "Each optimizer at an edge of its own",
        "Polyak's and Nesterov's momentum 0.3, RMSprop (α 0.99) and Adam (β₁ 0.9, β₂ 0.999) on "
        "cheb-4, five seeds. Drawn is the sharpness in the optimizer's own metric, λ₁(P⁻¹𝓗), times "
        "η: P is what the step divides the gradient by, the identity for the first two. Dashed, "
        "where a quadratic turns unstable: 2 + 2μ, (2 + 2μ)/(1 + 2μ), 2, and (2 + 2β₁)/(1 − β₁) "
        "= 38.",
        data="studies/optimizer-edges/table.csv",
    ),
    "schedules": Kind(
        "eosflow.results.figures.schedules:schedules",
        "The edge moves with the learning rate",
        "Gradient descent on cheb-4, five seeds, with its edge 2/η_t dashed. Where η drops to half "
        "the sharpness climbs to the new edge; in a warm-up it is pressed down by the falling one; "
        "under a cosine the edge runs away. Weight decay 0.001 moves the edge by that much and no "
        "more than can be seen; 0.01 takes the network to a constant.",
        data="studies/schedules/table.csv",
    ),
    "instabilities": Kind(
        "eosflow.results.figures.instabilities:instabilities",
        "One instability of gradient descent",
        "Gradient descent on cheb-4 at η = 0.4, seed 0, from a hundred steps before λ₁η passes 2 "
        "until it is below again. Above: the two largest eigenvalues, the swing along the first "
        "direction, the change of the Hessian. Below: the loss along one step, from its start "
        "(α = 0) to its end (α = 1) and beyond.",
        data="studies/instabilities/table.csv",
    ),
    "escaping": Kind(
        "eosflow.results.figures.escaping:escaping",
        "What the sharpest direction of each step does to the sharpness",
        "SGD on cheb-4 in batches of 10 of the 20 examples, from one initialisation per seed: with "
        "all of each step, without its part along the top eigenvector of the Hessian, and with "
        "that part alone. Thin lines are the five seeds, the thick one is their median.",
        data="studies/escaping/table.csv",
    ),
    "subspaces": Kind(
        "eosflow.results.figures.subspaces:subspaces",
        "Where training takes place: inside and outside of the top subspace",
        "Gradient descent on cheb-4 to the edge of stability, up to the dotted line. From there on "
        "the same, or with the part of each step in the top five directions changed: alone "
        "(Dominant-SGD), left out (Bulk-SGD), or multiplied by γ (Nudged-SGD). γ = 5 has no line: "
        "it diverges. Dashed: λ₁(𝓗)η = 2. Seed 0 of five.",
        data="studies/subspaces/table.csv",
    ),
    "spectral_density": Kind(
        "eosflow.results.figures.spectral_density:spectral_density",
        "The spectrum before, in and after an instability",
        "Density of the eigenvalues of 𝓗 and of G on cheb-4 (300 parameters, seed 0 of five) where "
        "gradient descent at η = 0.4 first crosses 2/η, where its loss then peaks, and 60 "
        "iterations later; by Lanczos quadrature, smoothed over 2 % of the range. The Marchenko–"
        "Pastur law of the same mean has its edge far below the few largest eigenvalues and puts "
        "far too much between.",
        data="studies/spectral-density/table.csv",
    ),
    "effective_parameters": Kind(
        "eosflow.results.figures.effective_parameters:effective_parameters",
        "How many parameters are determined, beside how sharp the loss is",
        "Gradient descent on cheb-4 (300 parameters, rank of G at most 20) at four learning rates, "
        "at equal flow time. Above, medians over five seeds: the sharpness parts where it meets "
        "2/η, N_eff hardly does. Below, all seeds at the end; the last panel sums λ/(λ + α) over "
        "the eigenvalues of 𝓗, some of which lie near −α, and is no count of anything.",
        data="studies/effective-parameters/table.csv",
    ),
    "generalized_prediction_error": Kind(
        "eosflow.results.figures.generalized_prediction_error:generalized_prediction_error",
        "Prediction error, evidence, and noise on the weights",
        "Left, ridge regression: what the test error has more than the training error, over 4,000 "
        "draws of the noise, against 2σ²p_eff/n (a point per α and seed). Middle: the log evidence "
        "of three polynomial models on data drawn from each of them, below the best of the three; "
        "medians over five seeds. Right: what noise on the weights adds to the loss of cheb-4, and "
        "its expansion to second order.",
        data="studies/generalized-prediction-error/table.csv",
    ),
    "sam_edge": Kind(
        "eosflow.results.figures.sam_edge:sam_edge",
        "The edge of sharpness-aware minimization",
        "SAM at two radii ρ and gradient descent, all at η = 0.3, on cheb-4 (seed 0 of five on "
        "the left, medians elsewhere). SAM has an edge of its own, lower for larger ρ and for a "
        "smaller gradient: it is held there from early on; gradient descent first reaches its "
        "edge 2/η after 1,000 iterations and more.",
        data="studies/sam-edge/table.csv",
    ),
}
