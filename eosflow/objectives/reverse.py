"""The loss of any module by reverse mode alone: products from a gradient's graph that is kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from eosflow.objectives.base import Evaluation, Matrix
from eosflow.objectives.module import ModuleEvaluation, ModuleObjective

# Workspaces whose graphs are kept between products; beyond, each product makes them.
KEPT_WORKSPACES = 4
# Of a chunk of examples on a CPU: memory for larger ones comes from fresh pages, which are slow.
CHUNK_BYTES = 64 * 2**20
# Between a Jacobian of one example alone and among others: rounding.
SAME_JACOBIAN = 1e-6

Product = Callable[[Tensor], Tensor]


class ReverseObjective(ModuleObjective):
    """𝓛 of a module that forward mode or `torch.func` may not take, see `ModuleObjective`.

    Every derivative is plain reverse mode, which recurrent layers, custom functions, gradient
    checkpointing and outputs that look at their inputs' values all have.
    """

    def evaluate(self, theta: Tensor) -> ReverseEvaluation:  # type: ignore[override]
        return ReverseEvaluation(self, theta)

    def graph_chunks(self, theta: Tensor, keep: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of so many examples as are differentiated twice at once.

        Each such chunk costs some passes over θ, so that it may take as much memory as θ. Chunks
        that are not kept are smaller, for they are there one at a time.
        """
        size = CHUNK_BYTES if keep else CHUNK_BYTES // 2
        parts = self._workspace_bytes // max(size, theta.nbytes)
        return self.chunks(theta, max(1, parts) if theta.device.type == "cpu" else 1)

    def _jacobians(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """∂z/∂θ (n, C, P) of each example: of all at once where that gives what one alone does."""
        first = self._jacobian(theta, inputs[:1])
        if self.scratch("maps", lambda: [True])[0]:
            try:
                together = super()._jacobians(theta, inputs)
                if (together[0] - first).norm() <= SAME_JACOBIAN * first.norm():
                    return together
            except (RuntimeError, NotImplementedError, ValueError, TypeError):
                pass  # torch.func cannot take this module: example by example, then
            self.scratch("maps", lambda: [True])[0] = False
        rest = [self._jacobian(theta, example[None]) for example in inputs[1:]]
        return torch.stack([first, *rest])

    def _jacobian(self, theta: Tensor, example: Tensor) -> Tensor:
        """∂z/∂θ (C, P) of one example, a row at a time."""
        with torch.enable_grad():
            variable = theta.detach().requires_grad_()
            (outputs,) = self.network.outputs(variable, example)

            def rows() -> list[Tensor]:
                return [_grad(z, variable, retain=True) for z in outputs]

            return torch.stack(self.network.run(variable, rows))


class ReverseEvaluation(Evaluation):
    """𝓛 of a module at one θ, see `Evaluation`; its products go column by column.

    Loss, accuracy and gradient are computed when first asked for: products need none of them, and
    a gradient may be half a gigabyte.
    """

    objective: ReverseObjective

    def __init__(self, objective: ReverseObjective, theta: Tensor) -> None:
        self.objective = objective
        self.theta = theta
        self._graphs: tuple[tuple[Matrix, torch.dtype], list[Product]] | None = None
        self._asked: tuple[Matrix, torch.dtype] | None = None

    @functools.cached_property
    def _first(self) -> ModuleEvaluation:
        return ModuleEvaluation(self.objective, self.theta)

    @property
    def loss(self) -> float:  # type: ignore[override]
        """𝓛."""
        return self._first.loss

    @property
    def accuracy(self) -> float:  # type: ignore[override]
        """The share of examples whose largest output is that of their class."""
        return self._first.accuracy

    @property
    def gradient(self) -> Tensor:  # type: ignore[override]
        """∇𝓛 (P,)."""
        return self._first.gradient

    def _add_product(self, matrix: Matrix, rows: Tensor, result: Tensor) -> None:
        """Row by row, in the rows' precision.

        Implements: E1 as the derivative of ∇𝓛·v; E2 as Jᵀ H_ℓ J v, J v as the derivative of Jᵀu in
        u; E3 as E1 of Σ_c g_c z_c with g = ∂ℓ/∂z frozen. The graph of what is differentiated is
        kept from the second product with the same matrix on, if it fits.
        """
        for product in self._products(matrix, rows.dtype):
            for row, total in zip(rows, result, strict=True):
                total += product(row)
        result /= self.objective.examples

    def _products(self, matrix: Matrix, dtype: torch.dtype) -> Iterator[Product]:
        """v ↦ the product with the sum over a chunk of examples, of each chunk."""
        if self._graphs is not None and self._graphs[0] == (matrix, dtype):
            yield from self._graphs[1]
            return
        # Not for the first: what is asked for once, to certify, needs one chunk at a time.
        again, self._asked = self._asked == (matrix, dtype), (matrix, dtype)
        self._graphs = None
        theta = self.theta.to(dtype)
        fits = self.objective.examples <= KEPT_WORKSPACES * self.objective.examples_at_once(theta)
        keep = again and fits
        kept: list[Product] = []
        for inputs, targets in self.objective.graph_chunks(theta, keep):
            product = self._product(matrix, theta, inputs, targets)
            if keep:
                kept.append(product)
            yield product
        if keep:
            self._graphs = (matrix, dtype), kept

    def _product(self, matrix: Matrix, theta: Tensor, inputs: Tensor, targets: Tensor) -> Product:
        network, criterion = self.objective.network, self.objective.criterion
        variable = theta.detach().requires_grad_()
        with torch.enable_grad():
            outputs = network.outputs(variable, inputs)
            if matrix == "gauss_newton":
                seed = torch.zeros_like(outputs, requires_grad=True)
                back = network.run(variable, lambda: _grad(outputs, variable, seed, graph=True))
            elif matrix == "residual":
                fixed = criterion.gradient(outputs.detach(), targets)
                total = (fixed * outputs).sum()
            else:
                total = criterion.total(outputs, targets)
            if matrix != "gauss_newton":
                slope = network.run(variable, lambda: _grad(total, variable, graph=True))

        def second(vector: Tensor) -> Tensor:
            return network.run(variable, lambda: _grad(slope, variable, vector, retain=True))

        def gauss_newton(vector: Tensor) -> Tensor:
            tangent = network.run(variable, lambda: _grad(back, seed, vector, retain=True))
            weighted = criterion.hessian_product(outputs.detach(), tangent[None], targets)[0]
            return network.run(variable, lambda: _grad(outputs, variable, weighted, retain=True))

        return gauss_newton if matrix == "gauss_newton" else second


def _grad(
    value: Tensor,
    variable: Tensor,
    vector: Tensor | None = None,
    *,
    graph: bool = False,
    retain: bool = False,
) -> Tensor:
    """The derivative of value · vector; zeros where it does not depend on the variable."""
    if not value.requires_grad:
        return torch.zeros_like(variable)
    (derivative,) = torch.autograd.grad(
        value, variable, vector, create_graph=graph, retain_graph=graph or retain,
        materialize_grads=True,
    )  # fmt: skip
    return derivative
