"""The covariance of the oscillation that holds an optimizer at the edge of stability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eosflow.objectives.third_derivatives import CurvatureGraph, pairs
from eosflow.optimizers import complementarity
from eosflow.spectra.eigenpairs import EigenPairs

# Eigenvalues of Σ below this share of the largest count as 0.
RANK = 1e-6


@dataclass(frozen=True)
class Metric:
    """The preconditioner diag(p)/η of an optimizer, and how p changes over a step.

    p is (1,) or (P,), as are `change`, that of the step without an oscillation, and `gain`, what
    one unit more of the mean squared gradient adds to it. p = 1 does not change.
    """

    p: Tensor
    change: Tensor | None = None
    gain: Tensor | None = None

    @property
    def root(self) -> Tensor:
        """√p as a column, (1, 1) or (P, 1)."""
        return self.p.sqrt()[:, None]

    def sums(self, rows: Tensor) -> Tensor:
        """Entries of vectors (m, P) as p sees them: each for itself, or all together (m, 1)."""
        return rows if len(self.p) > 1 else rows.sum(1, keepdim=True)


class Move:
    """f ↦ −(θ' − θ) of a step of length δ along −p⁻¹f (P,).

    Implements: C7. Exact for a quadratic loss along the eigenvectors that are known, an Euler step
    along all others.
    """

    def __init__(self, found: EigenPairs, metric: Metric, length: float) -> None:
        # θ and vectors in coordinates √p θ, in which the eigenvectors are orthonormal.
        self._root = metric.root[:, 0]
        self._rows = found.vectors.T
        self._length = length
        safe = torch.where(found.values == 0, 1.0, found.values)
        exact = torch.where(found.values == 0, length, -torch.expm1(-length * safe) / safe)
        self._excess = (exact - length).to(self._rows)

    def __call__(self, rows: Tensor) -> Tensor:
        """For rows (m, P), or one vector (P,)."""
        scaled = rows / self._root
        along = (scaled @ self._rows.T) * self._excess
        return (self._length * scaled + along @ self._rows) / self._root


@dataclass(frozen=True)
class EdgeForce:
    """The covariance Σ = VXVᵀ of an oscillation along V, UᵀV of the metric, and what follows.

    `force` ½∇⟨Σ, 𝓗⟩ (P,); `loss` ½⟨Σ, 𝓗⟩; `squares` diag(𝓗Σ𝓗) as the metric sees it, (P,) or (1,),
    and `squared_norm`, their sum; `variances`, the eigenvalues of Σ, descending; `residual` of C2.
    """

    force: Tensor
    loss: float
    squares: Tensor
    squared_norm: float
    variances: tuple[float, ...]
    residual: float

    @property
    def rank(self) -> int:
        """How many directions oscillate."""
        return sum(value > RANK * self.variances[0] for value in self.variances)


def nothing(theta: Tensor) -> EdgeForce:
    """That of no oscillation."""
    zeros = torch.zeros_like(theta)
    return EdgeForce(zeros, 0.0, zeros[:1], 0.0, (), 0.0)


def edge_force(
    evaluation: CurvatureGraph,
    found: EigenPairs,
    near: int,
    metric: Metric,
    edge: float,
    move: Move,
) -> EdgeForce:
    """The least Σ that keeps 𝓗 ⪯ (2/η) diag(p) to the end of a step, along the first `near` pairs.

    Implements: C2 and C4. `found` are the eigenpairs of p^(−½)𝓗p^(−½), `edge` is 2/η.
    """
    root = metric.root
    values, vectors = found.values[:near], found.vectors[:, :near] / root
    images = found.images[:, :near] * root  # 𝓗V
    weights = torch.tensor([1.0 if i == j else math.sqrt(2) for i, j in pairs(near)]).to(vectors)[
        :, None
    ]

    def products(block: Tensor) -> Tensor:
        """The entries of b_i ∘ b_j for all pairs (m, P), as the metric sees them."""
        rows = torch.stack([block[:, i] * block[:, j] for i, j in pairs(near)])
        return metric.sums(weights * rows)

    third = weights * evaluation.third(vectors)
    spread, squares = products(vectors), products(images)
    offset = third @ move(evaluation.gradient)
    operator = third @ move(third).T / 2
    if metric.change is not None and metric.gain is not None:
        offset = offset + edge * (spread @ metric.change)
        operator = operator + edge * ((spread * metric.gain) @ squares.T)
    slack = complementarity.matrix(_numpy(offset), near) + np.diag(edge - _numpy(values))
    solved = complementarity.solve(slack, _numpy(operator))
    x = torch.from_numpy(complementarity.vectorize(solved.x)).to(vectors)
    added = x @ squares
    return EdgeForce(
        force=x @ third / 2,
        loss=float(np.diag(solved.x) @ _numpy(values)) / 2,
        squares=added,
        squared_norm=added.sum().item(),
        variances=_variances(solved.x, _numpy(vectors.T @ vectors)),
        residual=solved.residual,
    )


def _variances(x: complementarity.Array, gram: complementarity.Array) -> tuple[float, ...]:
    """The eigenvalues of VXVᵀ, descending, from X and VᵀV."""
    values, vectors = np.linalg.eigh(gram)
    half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    found = np.linalg.eigvalsh(half @ x @ half)[::-1]
    return tuple(float(max(value, 0.0)) for value in found)


def _numpy(tensor: Tensor) -> complementarity.Array:
    found: complementarity.Array = tensor.detach().cpu().double().numpy()
    return found
