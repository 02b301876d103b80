"""The loss of a module at the weights it has now, read in place."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eosflow.library.data import Data
from eosflow.library.problem import Problem, examples_of
from eosflow.library.torch_edges import Edge
from eosflow.measurements.top_eigenvalues import MAX_PRODUCTS, TopEigenvalues
from eosflow.networks.module import to_like
from eosflow.objectives.criteria import Criterion
from eosflow.objectives.reverse import ReverseEvaluation, ReverseObjective
from eosflow.objectives.user_loss import Loss
from eosflow.spectra.tracking import Tracker

# Weights in half precision are read in it: in theirs curvature is noise.
LEAST_PRECISION = torch.float32


class InPlace:
    """𝓛 of the module's own weights, whatever they are by now."""

    def __init__(
        self,
        module: nn.Module,
        tried: Problem,
        loss: str | Loss,
        held_out: tuple[Any, Any] | None,
    ) -> None:
        # The widest precision among the weights, at least float32.
        dtypes = [LEAST_PRECISION, *(p.dtype for p in module.parameters() if p.requires_grad)]
        dtype = functools.reduce(torch.promote_types, dtypes).to_real()
        self._network = tried.network.reading(module, dtype)
        self._loss = loss
        self._trackers: dict[tuple[str, int], Tracker] = {}
        self._preconditioned = Tracker()
        self.theta = self._network.start
        first = tried.objective
        self.objective = self._objective(first.inputs, first.targets, first.criterion)
        self.held_out: ReverseObjective | None = None
        if held_out is not None:
            self.held_out = self._over(held_out)

    def take(self, data: Data) -> None:
        """Look at other examples from now on."""
        self.objective = self._over(data)

    def look(self) -> ReverseEvaluation:
        """Read the weights; 𝓛 there, which all measurements of this look share."""
        self.theta = self._network.weights()
        self.objective.seen = None
        evaluation = self.objective.evaluate(self.theta)
        evaluation.trackers = self._trackers
        return evaluation

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """One vector like θ of a tensor per parameter."""
        return self._network.flatten(dict(zip(self._network.sizes, parts, strict=True)))

    def forget(self) -> None:
        """Begin the next searches for eigenpairs anew."""
        self._trackers.clear()
        self._preconditioned = Tracker()

    def leave(self) -> None:
        """Let go of what the look held."""
        self.objective.seen = None

    def over_edge(
        self, edge: Edge, measurement: TopEigenvalues, found: dict[str, Any]
    ) -> dict[str, Any]:
        """λ₁ of S^½(𝓗 + Λ)S^½ and its edge; at no product where that is a shift of λ₁(𝓗)."""
        if edge.uniform:
            value = edge.scale * (found["eigenvalue_1"] + edge.decay)
            residual = found["residual_1"] * abs(found["eigenvalue_1"] * edge.scale)
            converged = found["converged"]
        else:
            evaluation = self.objective.evaluate(self.theta)
            operator = edge.operator(evaluation.hessian)
            limits = measurement.tolerance, MAX_PRODUCTS
            pairs = self._preconditioned.find(operator, self.theta, 1, *limits)
            value, residual = pairs.values[0].item(), pairs.residuals[0].item()
            converged = pairs.converged
        return {
            "preconditioned_sharpness": value,
            "preconditioned_residual": residual / abs(value) if value else 0.0,
            "edge": edge.edge,
            "over_edge": value / edge.edge,
            "converged": found["converged"] and converged,
        }

    def _over(self, data: Data) -> _Looked:
        return self._objective(*examples_of(data, self._network, self._loss))

    def _objective(self, inputs: Tensor, targets: Tensor, criterion: Criterion) -> _Looked:
        return _Looked(self._network, criterion, to_like(inputs, self.theta), targets)


class _Looked(ReverseObjective):
    """Evaluates one θ once, however many measurements ask."""

    seen: ReverseEvaluation | None = None

    def evaluate(self, theta: Tensor) -> ReverseEvaluation:
        """𝓛 at θ (P,)."""
        if self.seen is None or self.seen.theta is not theta:
            evaluation = super().evaluate(theta)
            if self.seen is not None:
                return evaluation
            self.seen = evaluation
        return self.seen
