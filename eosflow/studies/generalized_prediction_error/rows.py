"""From effective parameters to the test error, on models where both have closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from eosflow.objectives.base import Objective
from eosflow.optimizers.gradient import GradientDescent
from eosflow.spectra.density import saturated
from eosflow.spectra.randomness import generator
from eosflow.studies.testbeds import SEEDS, cheb, dense, initial, trajectory

# Ridge regression: n examples of D features, y = Xw + noise of deviation σ.
EXAMPLES, FEATURES, SIGMA = 40, 20, 0.5
RIDGES = (0.001, 0.01, 0.1, 1.0, 10.0)
DRAWS = 4000
# The evidence: polynomials on 25 points, data from the middle one.
DEGREES = (1, 3, 9)
POINTS, NOISE, PRIOR = 25, 0.3, 1.0
# Noise on the weights: descent on cheb-4 to the edge, then this far from there.
RATE, STEPS = 0.3, 1600
SCALES = (0.001, 0.003, 0.01, 0.03, 0.1)
PAIRS = 200


def rows() -> Iterator[dict[str, Any]]:
    objective = cheb()
    for seed in SEEDS:
        start, descent = initial(objective, seed), GradientDescent(learning_rate=RATE)
        (edge,) = trajectory(objective, descent, start, [STEPS])
        parts: dict[str, Iterable[dict[str, Any]]] = {
            "ridge": ridge(seed),
            "evidence": evidence(seed),
            "noise": noise(objective, edge.theta, seed),
        }
        for part, rows in parts.items():
            yield from ({"part": part, "seed": seed, **row} for row in rows)


def ridge(seed: int) -> Iterator[dict[str, Any]]:
    """E_test − E_train of ridge regression over many draws of the noise, for each α.

    ŵ minimises ½ E(y − Xw)² + ½ α‖w‖², so that Xŵ = Hy with Tr H = p_eff. At the same inputs with
    new noise E_test − E_train = 2σ² Tr H/n, exactly in the mean; `gap` is measured, `expected` the
    closed form. `gap_elsewhere` is that at new inputs, for which the formula is not made.
    """
    stream = generator(seed, "ridge")

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    scales = torch.logspace(-1, 0, FEATURES, dtype=torch.float64)
    inputs, elsewhere = normal(EXAMPLES, FEATURES) * scales, normal(2000, FEATURES) * scales
    weights = normal(FEATURES)
    noise, fresh = SIGMA * normal(DRAWS, EXAMPLES), SIGMA * normal(DRAWS, EXAMPLES)
    curvature = inputs.T @ inputs / EXAMPLES
    clean = inputs @ weights
    for alpha in RIDGES:
        identity = torch.eye(FEATURES, dtype=torch.float64)
        inverse = torch.linalg.solve(curvature + alpha * identity, inputs.T / EXAMPLES)  # [D, n]
        fits = (clean + noise) @ inverse.T  # [draws, D]
        fitted = fits @ inputs.T
        train = (clean + noise - fitted).square().mean(1)
        test = (clean + fresh - fitted).square().mean(1)
        gap = test - train
        away = SIGMA**2 + ((fits - weights) @ elsewhere.T).square().mean(1) - train
        effective = saturated(torch.linalg.eigvalsh(curvature), alpha).sum().item()
        yield {
            "alpha": alpha,
            "effective": effective,
            "train_error": train.mean().item(),
            "test_error": test.mean().item(),
            "gap": gap.mean().item(),
            "gap_error": gap.std().item() / math.sqrt(DRAWS),
            "expected": 2 * SIGMA**2 * effective / EXAMPLES,
            "gap_elsewhere": away.mean().item(),
        }


def evidence(seed: int) -> Iterator[dict[str, Any]]:
    """log p(y) of three polynomial models, on data drawn from each of them in turn.

    p(y) = N(0, σ²1 + ΦΦᵀ/α) with Legendre polynomials up to the degree as features Φ (n, k), a
    prior of variance 1/α on each weight. `effective` is MacKay's γ = Σ λ/(λ + α) over the
    eigenvalues of ΦᵀΦ/σ².
    """
    stream = generator(seed, "evidence")
    points = torch.linspace(-1, 1, POINTS, dtype=torch.float64)
    features = {degree: legendre(points, degree) for degree in DEGREES}
    for truth, phi in features.items():
        weights = torch.randn(truth + 1, generator=stream, dtype=torch.float64) / math.sqrt(PRIOR)
        # The highest term is what sets the model apart: it is drawn away from 0.
        weights[-1] = math.copysign(max(abs(weights[-1].item()), 1.0), weights[-1].item())
        noise = NOISE * torch.randn(POINTS, generator=stream, dtype=torch.float64)
        targets = phi @ weights + noise
        for degree, model in features.items():
            values = torch.linalg.eigvalsh(model.T @ model / NOISE**2)
            yield {
                "truth": truth,
                "degree": degree,
                "log_evidence": log_evidence(model, targets),
                "effective": saturated(values, PRIOR).sum().item(),
            }


def log_evidence(features: Tensor, targets: Tensor) -> float:
    """log N(y; 0, σ²1 + ΦΦᵀ/α) for Φ (n, k) and y (n,), by MacKay's form of it.

    −½ [yᵀ(y − Φm)/σ² + log det A − k log α + n log 2πσ²] with A = α1 + ΦᵀΦ/σ² and the mean
    m = A⁻¹Φᵀy/σ² of the posterior. Source: MacKay 1992.
    """
    count, size = features.shape
    precision = PRIOR * torch.eye(size).to(features) + features.T @ features / NOISE**2
    mean = torch.linalg.solve(precision, features.T @ targets) / NOISE**2
    misfit = (targets @ (targets - features @ mean)).item() / NOISE**2
    occam = torch.logdet(precision).item() - size * math.log(PRIOR)
    value: float = -(misfit + occam + count * math.log(2 * math.pi * NOISE**2)) / 2
    return value


def legendre(points: Tensor, degree: int) -> Tensor:
    """P_0 … P_degree at x (n,), each of variance 1 under a uniform x; (n, degree + 1)."""
    columns = [
        math.sqrt(2 * number + 1) * torch.special.legendre_polynomial_p(points, number)
        for number in range(degree + 1)
    ]
    return torch.stack(columns, 1)


def noise(objective: Objective, theta: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """What noise of deviation s on the weights adds to the loss, over pairs ±ε, and what it should.

    To second order ½ s² Tr 𝓗 for noise on all weights, ½ s² λ₁(𝓗) for noise along q₁ alone.
    """
    evaluation = objective.evaluate(theta)
    values, vectors = torch.linalg.eigh(dense(evaluation, "hessian"))
    stream = generator(seed, "noise on the weights")
    draws = torch.randn(PAIRS, len(theta), generator=stream, dtype=torch.float64)
    along = torch.randn(PAIRS, 1, generator=stream, dtype=torch.float64) * vectors[:, -1]
    kinds = {"all weights": (draws, values.sum()), "along q₁": (along, values[-1])}
    for kind, (directions, curvature) in kinds.items():
        for scale in SCALES:
            added = torch.tensor(
                [
                    sum(objective.evaluate(theta + sign * scale * d).loss for sign in (1, -1)) / 2
                    - evaluation.loss
                    for d in directions
                ]
            )
            yield {
                "noise": kind,
                "scale": scale,
                "added": added.mean().item(),
                "added_error": added.std().item() / math.sqrt(PAIRS),
                "predicted": scale**2 * curvature.item() / 2,
            }
