"""Products with 𝓗 and third derivatives of 𝓛 at one θ, by plain autograd."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from eosflow.objectives.base import WORKSPACE_BYTES, Evaluation, Matrix, Objective
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import COPIES, ModuleObjective
from eosflow.spectra.density import probes
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

# Numbers that the graph of three derivatives holds, in those of one forward pass.
GRAPH_COPIES = 12
# Differences that a third derivative is compared with, relative to the size of θ, and how far a
# slope may be from that claimed.
DIFFERENCE_STEPS = (1e-5, 1e-6, 1e-7, 1e-8)
SAME_SLOPE = 1e-3
ROUNDING = 1e-13  # of a curvature, relative to it


class CurvatureGraph(Evaluation):
    """An evaluation with ∇(uᵀ𝓗v) too, at its θ (P,).

    The graph of ∇𝓛 is built once and kept while all examples fit the workspace: for a small network
    a product with 𝓗 then takes a tenth of the time that `Evaluation.hessian` takes. Otherwise
    examples come in chunks, and products are those of the evaluation.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.objective, self._evaluation = evaluation.objective, evaluation
        self.theta, self.gradient = evaluation.theta, evaluation.gradient
        self.loss, self.accuracy = evaluation.loss, evaluation.accuracy
        self._chunks = list(_chunks(self.objective, self.theta))
        self._kept: tuple[Tensor, Tensor] | None = None

    def _add_product(self, matrix: Matrix, rows: Tensor, result: Tensor) -> None:
        closed = isinstance(self.objective, MLPObjective) or matrix != "hessian"
        if closed or len(self._chunks) > 1:
            self._evaluation._add_product(matrix, rows, result)
            return
        variable, gradient = self._gradient(0)
        for row, total in zip(rows, result, strict=True):
            (image,) = torch.autograd.grad(
                gradient, variable, row.to(variable), retain_graph=True, materialize_grads=True
            )
            total += image

    def third(self, vectors: Tensor) -> Tensor:
        """∇_θ(u_iᵀ𝓗u_j) for the columns u of (P, k), rows i ≤ j in the order of `pairs` (m, P).

        Implements: T of C2. One gradient, k products with 𝓗 and m = k(k+1)/2 derivatives of those.
        """
        count = vectors.shape[1]
        total = vectors.new_zeros(count * (count + 1) // 2, len(vectors))
        for number in range(len(self._chunks)):
            variable, gradient = self._gradient(number)
            with torch.enable_grad():
                images = [
                    torch.autograd.grad(
                        gradient, variable, column, create_graph=True, materialize_grads=True
                    )[0]
                    for column in vectors.T
                ]
            for row, (i, j) in enumerate(pairs(count)):
                if images[j].requires_grad:
                    (slope,) = torch.autograd.grad(
                        images[j],
                        variable,
                        vectors[:, i],
                        retain_graph=True,
                        materialize_grads=True,
                    )
                    total[row] += slope
        return total

    def _gradient(self, chunk: int) -> tuple[Tensor, Tensor]:
        """θ as a variable, and ∇𝓛 of a chunk's examples as a function of it."""
        if self._kept is not None:
            return self._kept
        inputs, targets = self._chunks[chunk]
        network, criterion = self.objective.network, self.objective.criterion
        with torch.enable_grad():
            variable = self.theta.detach().requires_grad_()
            value = criterion.total(network.outputs(variable, inputs), targets)
            (gradient,) = torch.autograd.grad(
                value / self.objective.examples, variable, create_graph=True
            )
        if len(self._chunks) == 1:
            self._kept = variable, gradient
        return variable, gradient


def pairs(count: int) -> list[tuple[int, int]]:
    """(i, j) for 0 ≤ i ≤ j < count, in the order that all of this uses."""
    return [(i, j) for j in range(count) for i in range(j + 1)]


def _chunks(objective: Objective, theta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets of so many examples that their graph fits the workspace."""
    if isinstance(objective, ModuleObjective):
        yield from objective.chunks(theta, columns=GRAPH_COPIES // COPIES)
        return
    assert isinstance(objective, MLPObjective)
    numbers = GRAPH_COPIES * sum(objective.network.dimensions)
    length = max(1, WORKSPACE_BYTES // (numbers * theta.element_size()))
    for start in range(0, objective.examples, length):
        part = slice(start, start + length)
        yield objective.inputs[part], objective.targets[part]


def check_third_derivatives(
    objective: Objective, theta: Tensor, seed: int, name: str, slope_of: Callable[[Tensor], Tensor]
) -> None:
    """Compare ∇(vᵀ𝓗v) = slope_of(v) with differences of products with 𝓗, along it.

    v (P,) is a random vector of signs. Several steps, for one may go across the kink of a ReLU.

    Raises: UserError, in the name of an optimizer, where they do not agree.
    """
    signs = probes(len(theta), 1, theta, generator(seed, "check of third derivatives"))[0]
    gradient = slope_of(signs)
    claimed = gradient.norm().item()
    if not math.isfinite(claimed) or claimed == 0:  # nothing to compare
        return

    def curvature(at: Tensor) -> float:
        evaluation = objective.evaluate(at)
        return float((signs * evaluation.hessian(signs[:, None])[:, 0]).sum())

    seen = []
    for step in DIFFERENCE_STEPS:
        way = gradient * (step * max(1.0, theta.norm().item()) / claimed)
        ends, length = (curvature(theta + way), curvature(theta - way)), way.norm().item()
        seen.append((ends[0] - ends[1]) / (2 * length))
        rounding = ROUNDING * max(map(abs, ends)) / length  # all there is where nothing is cubic
        if abs(seen[-1] - claimed) <= SAME_SLOPE * claimed + rounding:
            return
    nearest = min(seen, key=lambda slope: abs(slope - claimed))
    raise UserError(
        f"{name}: PyTorch's third derivatives of this network are wrong. The gradient of the "
        f"curvature along a random vector is {claimed:.4g} long, but the slope of that curvature "
        f"along it is {nearest:.4g}. torch.nn.LayerNorm is known for it (PyTorch 2.13): write the "
        "normalisation with plain operations, x.mean and x.square, or choose another optimizer."
    )
