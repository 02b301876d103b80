"""How the eigenvalues of a symmetric operator are spread, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import Operator
from eosflow.spectra.lanczos import quadrature, row_products


@dataclass(frozen=True)
class Estimate:
    """A mean over probes, with its standard error; NaN if there is one probe alone."""

    value: float
    error: float


@dataclass(frozen=True)
class Spectrum:
    """Gauss quadratures of the spectrum of A (P, P), one per probe.

    nodes θ (n, m), weights w (n, m), squares (n,) = ‖v‖² of the probes v.
    """

    nodes: Tensor
    weights: Tensor
    squares: Tensor

    @property
    def size(self) -> int:
        """How many probes there are, n."""
        return len(self.nodes)

    def trace(self, function: Callable[[Tensor], Tensor]) -> Estimate:
        """Tr f(A), for f of any tensor entry by entry.

        Implements: vᵀf(A)v = ‖v‖² Σ_j w_j f(θ_j), whose mean over unit-variance probes is Tr f(A).
        For f(x) = x and x² the quadrature is exact, from one and two nodes on: what is left is the
        scatter of the probes. Source: Ubaru, Chen & Saad 2017.
        """
        return _mean(self.squares * (self.weights * function(self.nodes)).sum(1))

    def frobenius_norm(self) -> Estimate:
        """‖A‖_F = √(mean ‖Av‖²) over the probes; its error to first order in that of the mean."""
        square = self.trace(torch.square)
        root = math.sqrt(square.value)
        return Estimate(root, square.error / (2 * root) if root else 0.0)

    def above(self, edge: float) -> Estimate:
        """How many eigenvalues lie above `edge`.

        A step is no polynomial: the quadrature is off by at most the weight of the node next to the
        edge, which is next to nothing where the edge lies in a gap.
        """
        return self.trace(lambda nodes: (nodes > edge).to(nodes))

    def grid(self, points: int, width: float) -> tuple[Tensor, float]:
        """Points (g,) around all nodes, and the width of a bump as that share of their range."""
        low, high = self.nodes.min().item(), self.nodes.max().item()
        width *= max(high - low, abs(high) * 1e-6, 1e-30)
        ends = low - 4 * width, high + 4 * width
        return torch.linspace(*ends, points, dtype=self.nodes.dtype), width

    def smoothed(self, grid: Tensor, width: float) -> tuple[Tensor, Tensor]:
        """The density at the points of grid (g,) and its standard errors over the probes, (g,).

        Implements: (1/P) Σ_i N(x; λ_i, width²), which integrates to 1; each node stands for a
        normal law. With one probe alone the errors are NaN.
        """
        distance = (grid - self.nodes[..., None]) / width
        bumps = torch.exp(-distance.square() / 2) / (width * math.sqrt(2 * math.pi))
        each = (self.weights[..., None] * bumps).sum(1)  # [n, g]
        return each.mean(0), each.std(0) / math.sqrt(self.size)


@dataclass(frozen=True)
class MarchenkoPastur:
    """The law of the eigenvalues of XᵀX/n, X (n, P) of independent entries of mean 0, variance σ².

    In the limit of large P and n at one ratio γ = P/n. Their mean is σ². Source: Marchenko & Pastur
    1967.
    """

    variance: float
    ratio: float

    @property
    def edges(self) -> tuple[float, float]:
        """σ²(1 ± √γ)²: between them lie all eigenvalues but those that are 0."""
        root = math.sqrt(self.ratio)
        return self.variance * (1 - root) ** 2, self.variance * (1 + root) ** 2

    @property
    def at_zero(self) -> float:
        """The share of the eigenvalues that are 0: 1 − 1/γ where γ > 1."""
        return max(0.0, 1 - 1 / self.ratio)

    @property
    def second_moment(self) -> float:
        """The mean of the squared eigenvalues, σ⁴(1 + γ)."""
        return self.variance**2 * (1 + self.ratio)

    def density(self, values: Tensor) -> Tensor:
        """√((λ₊ − x)(x − λ₋))/(2πγσ²x) between the edges, 0 elsewhere; without what lies at 0."""
        low, high = self.edges
        inside = (high - values) * (values - low)
        scale = 2 * math.pi * self.ratio * self.variance * values
        return torch.where(inside > 0, inside.clamp(min=0).sqrt() / scale, 0.0)


def saturated(values: Tensor, alpha: float) -> Tensor:
    """λ/(λ + α) of each eigenvalue of a positive semi-definite matrix, 0 if λ ≤ 0.

    Their sum is the effective number of parameters. An eigenvalue below 0 is round-off.
    """
    positive = values.clamp(min=0)
    return torch.where(positive > 0, positive / (positive + alpha), 0.0)


def probes(size: int, count: int, like: Tensor, stream: torch.Generator) -> Tensor:
    """Independent random signs (n, P), mean 0 and variance 1, as `like` in dtype and device."""
    signs = torch.randint(0, 2, (count, size), generator=stream, dtype=like.dtype)
    return signs.mul_(2).sub_(1).to(like)


def spectrum(operator: Operator, rows: Tensor, steps: int) -> Spectrum:
    """The spectrum of a symmetric operator as the probes (n, P) see it, `steps` nodes each.

    `steps` block products of n vectors. Where the operator's size is below `steps`, as many nodes
    as it has eigenvalues.
    """

    def images(block: Tensor, _: Tensor) -> Tensor:
        result = torch.empty_like(block)
        operator(block.T, result.T)
        return result

    nodes, weights = quadrature(images, rows, steps)
    return Spectrum(nodes, weights, row_products(rows, rows))


def _mean(values: Tensor) -> Estimate:
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Estimate(values.mean().item(), error)
