"""The sharpness of one weight snapshot and its factors (E1–E12)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eosflow.objectives.base import WORKSPACE_BYTES, Evaluation, Objective
from eosflow.objectives.input_span import input_span
from eosflow.objectives.mlp import MLPObjective
from eosflow.spectra.eigenpairs import EigenPairs, Operator, random_start, top_eigenpairs
from eosflow.spectra.krylov import Krylov, Space
from eosflow.spectra.lanczos import top_vectors

# Relative residuals at which the estimators stop. An eigenvalue is off by at most its
# residual; where it is apart from its neighbours, the error is of second order in the residual.
SHARPNESS_TOLERANCE = 1e-4
# R is read beside 𝓗, of which it is a few hundredths; its search is the longest by far.
RESIDUAL_TOLERANCE = 2e-3
SHARPNESS_PRODUCTS = 300
# The search in float32: Lanczos vectors held at once, and how often it begins again from its best.
SEARCH_STEPS = 48
SEARCH_ROUNDS = 5
JACOBIAN_TOLERANCE = 1e-3
JACOBIAN_STEPS = 120
# Of the matrix that all examples share, whose top eigenvector starts them.
WEIGHT_STEPS = 20
# Up to this many rows a Gram matrix per example is cheaper than an iteration, and exact.
EXACT_GRAM_ROWS = 64


def decompose(objective: Objective, theta: Tensor) -> dict[str, Any]:
    """All the quantities of a snapshot, one flat record with the names of docs/method.md.

    Implements: E1–E5 (sharpness and overlap), E7–E8 (layers), for an MLP also E10–E12 (factors).
    Every expectation is the mean over the objective's examples. `residual_*` are relative residuals
    of the estimators, 0 for closed forms; `converged` is true if all met their tolerance.
    """
    if span := input_span(objective):
        objective, theta = span.objective, span.project(theta)  # the same numbers for less
    evaluation = objective.evaluate(theta)
    record: dict[str, Any] = {"loss": evaluation.loss}
    if isinstance(objective, MLPObjective):
        record |= layerwise(objective, theta)
    else:
        record |= groupwise(objective, theta)
    memory = objective.scratch(
        "search", lambda: theta.new_empty(SEARCH_STEPS + 1, len(theta), dtype=torch.float32)
    )
    record |= sharpness(evaluation, memory)
    # E5: λ₁(G) = E‖M‖² · ω. Where E‖M‖² = 0, G = 0 and any ω will do; 1 keeps its bounds.
    norm = record["m_norm2"]
    record["overlap"] = record["sharpness_gauss_newton"] / norm if norm > 0 else 1.0
    record["converged"] = (
        max(record["residual_hessian"], record["residual_gauss_newton"]) <= SHARPNESS_TOLERANCE
        and record["residual_residual"] <= RESIDUAL_TOLERANCE
        and record.get("residual_jacobian", 0.0) <= JACOBIAN_TOLERANCE
    )
    return record


def sharpness(evaluation: Evaluation, memory: Tensor) -> dict[str, float]:
    """λ₁ of 𝓗, G and R, the largest algebraic eigenvalues, and λ_P of R, the smallest.

    Implements: E1–E3. The eigenvector of G starts the search for that of 𝓗, which is close to it.
    `residual_*` of the λ₁ are relative to them. λ_P(R) is a by-product of the search for λ₁(R):
    a Ritz value, with ‖Rv − λv‖/λ₁(R) as `residual_smallest`. The searches take place in `memory`
    (m, P), in its precision.
    """
    start = random_start(len(evaluation.theta), 1, evaluation.theta)
    gauss_newton, _ = _top_pair(evaluation.gauss_newton, start, SHARPNESS_TOLERANCE, memory)
    first = gauss_newton.vectors
    hessian, _ = _top_pair(evaluation.hessian, first, SHARPNESS_TOLERANCE, memory)
    residual, seen = _top_pair(evaluation.residual, start, RESIDUAL_TOLERANCE, memory)
    if hessian.values[0] + hessian.residuals[0] < residual.values[0] - residual.residuals[0]:
        # G ⪰ 0, so λ₁(𝓗) ≥ λ₁(R): the search ended at a neighbour. That of R has what it missed.
        both = first + residual.vectors
        hessian, _ = _top_pair(evaluation.hessian, both, SHARPNESS_TOLERANCE, memory)
    pairs_of = {"hessian": hessian, "gauss_newton": gauss_newton, "residual": residual}
    record = {f"sharpness_{name}": pairs.values[0].item() for name, pairs in pairs_of.items()}
    record |= {f"residual_{name}": pairs.relative_residual for name, pairs in pairs_of.items()}
    scale = abs(record["sharpness_residual"])
    record["smallest_eigenvalue_residual"] = seen.smallest
    record["residual_smallest"] = seen.smallest_error / scale if scale > 0 else 0.0
    return record


def _top_pair(
    operator: Operator, start: Tensor, tolerance: float, memory: Tensor
) -> tuple[EigenPairs, Space]:
    """Found in the precision of `memory`; value and residual are those of a float64 product.

    Where the precision of the search did not do, it goes on in float64. Also the Krylov space of
    the first round.
    """
    vector, first = start[:, 0], None
    for _ in range(SEARCH_ROUNDS):
        krylov = Krylov(operator, vector, memory)
        enough = krylov.smallest(
            lambda part: part.largest_error <= tolerance / 2 * abs(part.largest)
        )
        space = enough or krylov.space(krylov.size)
        first = first or space
        vector = krylov.combine(space.vectors[:, -1], vector)
        if enough is not None:
            break
    assert first is not None  # there is a first round
    return top_eigenpairs(operator, vector[:, None], tolerance, SHARPNESS_PRODUCTS), first


def groupwise(objective: Objective, theta: Tensor) -> dict[str, Any]:
    """E‖M‖², E‖H_ℓ^{1/2}‖² and E‖M_l‖² of each parameter group l, for any network.

    Implements: E4, E7, E8, from the C×C matrices M_l M_lᵀ of each example.
    """

    def sums(part: slice) -> tuple[dict[str, Tensor], float]:
        stop = min(part.stop, objective.examples)
        pieces = objective.per_example_grams(theta, part.start, stop)
        targets = objective.targets[part].to(theta.device)
        hessians = objective.criterion.hessian(pieces.outputs, targets)
        return {
            "m_norm2": largest(pieces.grams.sum(0)).sum().double(),
            "criterion_norm2": largest(hessians).sum().double(),
            "layer_norm2": largest(pieces.grams).sum(1),
        }, 0.0

    numbers = objective.per_example_numbers() * objective.inputs.element_size()
    means, _ = means_over(objective.examples, max(1, WORKSPACE_BYTES // numbers), sums)
    layers = means.pop("layer_norm2").tolist()
    record = {name: mean.item() for name, mean in means.items()}
    return record | {f"layer_norm2_{number}": norm for number, norm in enumerate(layers, 1)}


def largest(matrices: Tensor) -> Tensor:
    """λ₁ ≥ 0 of symmetric PSD matrices (…, C, C)."""
    values: Tensor = torch.linalg.eigvalsh(matrices)
    return values[..., -1].clamp(min=0)


def layerwise(objective: MLPObjective, theta: Tensor) -> dict[str, Any]:
    """Everything that has a closed form per layer, summed over chunks of examples.

    Implements: E6–E8 and E10–E12. No weight Jacobian is ever built: ‖M_l‖² needs C×C matrices.
    """
    layers = objective.network.layers(theta)
    empty = theta.new_zeros(0)

    def sums(part: slice) -> tuple[dict[str, Tensor], float]:
        factors = objective.factors(theta, part.start, part.stop)
        squares, scale = factors.squares, factors.scales  # ‖a_{l−1}‖² and 1 more, [L, n]
        norms = largest(factors.grams)  # ‖B_l‖², [L, n]
        total = (scale[:, :, None, None] * factors.grams).sum(0)  # E8: M Mᵀ, [n, C, C]
        jacobians = [
            squared_jacobian_norms(layers[index + 1][0], slopes)
            for index, slopes in enumerate(factors.slopes)
        ]
        # An input that is all zeros has no growth ratio; it counts as 0 rather than as infinite.
        growth = [ratio(after, before) for before, after in itertools.pairwise(squares)]
        return {
            "m_norm2": largest(total).sum(),
            "criterion_norm2": norms[-1].sum(),
            "layer_norm2": (scale * norms).sum(1),  # E7
            "activation_norm2": scale.sum(1),
            "preactivation_norm2": norms.sum(1),
            "activation_growth": torch.stack(growth).sum(1) if growth else empty,
            "jacobian_norm2": torch.stack([n.sum() for n, _ in jacobians]) if jacobians else empty,
        }, max((residual for _, residual in jacobians), default=0.0)

    # Of the Lanczos basis of an example, the largest array here.
    numbers = (JACOBIAN_STEPS + 1) * max(objective.network.dimensions[1:])
    size = max(1, WORKSPACE_BYTES // (numbers * objective.inputs.element_size()))
    means, worst = means_over(objective.examples, size, sums)
    more = {"activation_growth": means["activation_growth"]}
    return record_of(means, more) | {"residual_jacobian": worst}


def means_over(
    examples: int, size: int, sums_of: Callable[[slice], tuple[dict[str, Tensor], float]]
) -> tuple[dict[str, Tensor], float]:
    """Means over the examples, from sums over so many at a time; the worst of their residuals."""
    totals: dict[str, Tensor] = {}
    worst = 0.0
    for start in range(0, examples, size):
        sums, residual = sums_of(slice(start, start + size))
        worst = max(worst, residual)
        totals = {name: totals[name] + s if totals else s for name, s in sums.items()}
    return {name: total / examples for name, total in totals.items()}, worst


def record_of(means: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Any]:
    """The factors from the means of squared norms, and `more` lists by layer.

    Implements: E10–E12, F4–F6. An expectation that is 0 means a dead layer; its ratio counts as 0,
    and the factors still multiply to the norm.
    """
    layer, activation = means["layer_norm2"], means["activation_norm2"]
    preactivation, jacobian = means["preactivation_norm2"], means["jacobian_norm2"]
    alignment = ratio(preactivation[:-1], preactivation[1:] * jacobian)  # E10
    lists = {
        "layer_norm2": layer,
        "activation_norm2": activation,
        "activation_ratio": ratio(layer, activation * preactivation),  # E11
        **more,
        "preactivation_norm2": preactivation,
        "jacobian_norm2": jacobian,
        "alignment": alignment,
    }
    record = {name: means[name].item() for name in ("m_norm2", "criterion_norm2")}
    for name, values in lists.items():
        record |= {f"{name}_{number}": value for number, value in enumerate(values.tolist(), 1)}
    return record | {"alignment_product": alignment.prod().item()}  # 1 if there is but one layer


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)


def squared_jacobian_norms(weight: Tensor, slopes: Tensor) -> tuple[Tensor, float]:
    """‖D‖² (n,) of D = W diag(s) for each row s of slopes (n, d), W (d', d); worst residual.

    One eigenvalue problem per example, DᵀD v = λ v, all solved at once: a product is two matrix
    products with W for all examples together. Lanczos iteration starts from the top right singular
    vector of W. The residual is ‖DᵀD v − λ v‖/λ in the precision of W, 0 if the
    answer is exact.
    """
    if min(weight.shape) <= EXACT_GRAM_ROWS:
        if weight.shape[0] <= weight.shape[1]:
            grams = (weight * slopes.square()[:, None, :]) @ weight.T
        else:
            grams = (weight.T @ weight) * slopes[:, :, None] * slopes[:, None, :]
        return torch.linalg.eigvalsh(grams)[:, -1].clamp(min=0), 0.0
    # Searched in float32, which is twice as fast, and in float64 where that is too coarse.
    for precision in (torch.float32, torch.float64):
        vectors = _top_right_singular_vectors(weight.to(precision), slopes.to(precision))
        norms, residual = _rayleigh(weight, slopes, vectors.to(slopes.dtype))
        if residual <= JACOBIAN_TOLERANCE:
            break
    return norms, residual


def _top_right_singular_vectors(weight: Tensor, slopes: Tensor) -> Tensor:
    """Those of W diag(s) for each row s of slopes (n, d), not normalised.

    A start that has little of the top vector ends at a neighbour. So there is a second look from
    random numbers, and where its value is larger the search begins again from there.
    """
    gram = weight.T @ weight

    def search(which: Tensor, start: Tensor, tolerance: float) -> Tensor:
        def squared(rows: Tensor, examples: Tensor) -> Tensor:
            scales = slopes[which[examples]]
            return ((rows * scales) @ gram).mul_(scales)

        return top_vectors(squared, start, tolerance, JACOBIAN_STEPS).vectors

    every = torch.arange(len(slopes), device=slopes.device)
    vectors = search(every, _roughly_top(gram) * slopes, JACOBIAN_TOLERANCE / 2)
    random = random_start(weight.shape[1], 1, slopes).T * slopes
    second = search(every, random, JACOBIAN_TOLERANCE)
    values, others = (_rayleigh(weight, slopes, rows)[0] for rows in (vectors, second))
    missed = (others > values * (1 + JACOBIAN_TOLERANCE)).nonzero()[:, 0]
    if len(missed):
        vectors[missed] = search(missed, second[missed], JACOBIAN_TOLERANCE / 2)
    return vectors


def _roughly_top(gram: Tensor) -> Tensor:
    """The top eigenvector (d,) of WᵀW, well enough to start from."""
    memory = gram.new_empty(WEIGHT_STEPS + 1, len(gram))
    krylov = Krylov(
        lambda block, out: torch.mm(gram, block, out=out),
        random_start(len(gram), 1, gram)[:, 0],
        memory,
    )
    space = krylov.smallest(lambda part: part.size == WEIGHT_STEPS)
    assert space is not None  # memory holds one vector more
    return krylov.combine(space.vectors[:, -1], gram[0])


def _rayleigh(weight: Tensor, slopes: Tensor, vectors: Tensor) -> tuple[Tensor, float]:
    """λ = vᵀDᵀDv (n,) for the rows v of (n, d), and the worst ‖DᵀD v − λ v‖/λ."""
    norms = vectors.norm(dim=1, keepdim=True)
    vectors = vectors / norms.clamp(min=torch.finfo(norms.dtype).tiny)
    half = (vectors * slopes) @ weight.T
    values = half.square().sum(1)
    residuals = ((half @ weight) * slopes - values[:, None] * vectors).norm(dim=1)
    return values, ratio(residuals, values).max().item()
