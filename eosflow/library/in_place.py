"""The loss of a module at the weights it has now, read in place."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eosflow.library.data import Data
from eosflow.library.problem import Problem, examples_of, objective_of
from eosflow.library.torch_edges import Edge, Stability
from eosflow.measurements.critical_sharpness import critical_sharpness
from eosflow.measurements.top_eigenvalues import MAX_PRODUCTS, TopEigenvalues
from eosflow.networks.module import to_like
from eosflow.objectives.base import Evaluation, Objective
from eosflow.objectives.criteria import Criterion
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.reverse import ReverseObjective
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
        self.held_out = None if held_out is None else self._over(held_out)

    def take(self, data: Data) -> None:
        """Look at other examples from now on."""
        self.objective = self._over(data)

    def look(self) -> Evaluation:
        """Read the weights; 𝓛 there, which all measurements of this look share."""
        self.theta = self._network.weights()
        self.objective.seen = None
        evaluation: Evaluation = self.objective.evaluate(self.theta)
        evaluation.trackers = self._trackers
        for tracker in (*self._trackers.values(), self._preconditioned):
            tracker.changed()
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

    def along_update(self, optimizer: Stability) -> dict[str, Any]:
        """λ_c along the step that the optimizer would take now, and what is above it: 2/η."""
        evaluation, named = self.objective.evaluate(self.theta), self._network.named
        parts = [list(named(part).values()) for part in (self.theta, evaluation.gradient)]
        rate = optimizer.rate(0)
        if not rate:
            return {}
        direction = (self.theta - self.flat(optimizer.stepped(*parts))) / rate
        found = critical_sharpness(self.objective, evaluation, direction)
        return {
            "update_sharpness": found.sharpness,
            "update_sharpness_error": found.error,
            "update_edge": 2 / rate,
            "update_over_edge": found.sharpness * rate / 2,
            "update_converged": found.converged,
        }

    def _over(self, data: Data) -> _Looked:
        return self._objective(*examples_of(data, self._network, self._loss))

    def _objective(self, inputs: Tensor, targets: Tensor, criterion: Criterion) -> _Looked:
        data = to_like(inputs, self.theta), targets
        kinds: Any = {"closed": _LookedMLP, "reverse": _LookedModule}
        found: Any = objective_of(self._network, criterion, *data, **kinds)
        looked: _Looked = found
        return looked


class _Looked(Objective):
    """Evaluates one θ once, however many measurements ask."""

    seen: Evaluation | None = None

    def evaluate(self, theta: Tensor) -> Any:
        """𝓛 at θ (P,)."""
        if self.seen is not None and self.seen.theta is theta:
            return self.seen
        evaluation = super().evaluate(theta)  # type: ignore[safe-super]
        if self.seen is None:
            self.seen = evaluation
        return evaluation


class _LookedModule(_Looked, ReverseObjective):
    """Of any module."""


class _LookedMLP(_Looked, MLPObjective):
    """Of a plain MLP. Each look takes the memory of the last, for fresh pages are slow."""

    def new_passes(self, dtype: torch.dtype) -> Any:
        """Memory for an evaluation."""
        make = functools.partial(super().new_passes, dtype)
        return make() if self.seen is not None else self.scratch("passes", make)
