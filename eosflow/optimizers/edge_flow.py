"""The step of a flow that holds the curvature at the edge of stability, see `central_flow`."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.storage.columns import Column, Columns, count, curvature, flag, relative
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.objectives.third_derivatives import CurvatureGraph
    from eosflow.optimizers.edge_force import EdgeForce, Metric
    from eosflow.spectra.eigenpairs import EigenPairs

# Directions whose curvature is above this share of the edge may oscillate; no other reaches it
# within a step. One pair more than those is known, so that none is missed.
NEAR = 0.9
MOST_DIRECTIONS = 12
EIGEN_TOLERANCE = 1e-3  # largest residual of an eigenpair, relative to λ₁
MAX_PRODUCTS = 300
# A residual of C2 above this, where 1e-10 is the rule, is no solution: no force holds the edge.
UNSOLVED = 1e-3


class EdgeFlow(Optimizer):
    """dθ/dt = −p⁻¹(∇𝓛 + ½∇⟨Σ, 𝓗⟩) with 𝓗 ⪯ (2/η) diag(p), for an optimizer θ ← θ − η∇𝓛/p."""

    rows: ClassVar[str] = "p is 1 for the central flow of gradient descent."
    follows_flow: ClassVar[bool] = True
    lands_on_target: ClassVar[bool] = True
    transient: ClassVar[int] = 0

    learning_rate: float = Field(
        description="learning rate η of the followed optimizer", gt=0, examples=[0.1]
    )
    substeps: int = Field(1, description="steps at the edge per step of the optimizer", ge=1)

    @property
    def rotation_equivariant(self) -> bool:
        return True

    @property
    def limit(self) -> float:
        """2/η, the largest curvature that is stable in the metric of the optimizer."""
        return 2 / self.learning_rate

    def describe(self) -> str:
        return f"{self._title()}, learning rate {self.learning_rate:g}"

    def columns(self, parameters: int, outputs: int) -> Columns:
        return (
            curvature("sharpness", "λ₁(P⁻¹𝓗)", "largest eigenvalue of P⁻¹𝓗, P = diag(p) (C1, C4)"),
            curvature(
                "slack",
                "–",
                "2/η less the sharpness; where negative, the step before missed the edge by so "
                "much (C2)",
            ),
            count("rank", "how many directions oscillate, the rank of Σ (C2)", "directions"),
            Column(
                "variance",
                "Tr Σ",
                "predicted variance of the oscillation, in all directions (C3)",
                "parameter²",
            ),
            Column(
                "variance_1",
                "λ₁(Σ)",
                "the same along the direction in which it is largest (C3)",
                "parameter²",
            ),
            Column(
                "predicted_loss",
                "–",
                "𝓛 + ½⟨Σ, 𝓗⟩, predicted mean of the optimizer's loss (C3)",
                "loss",
            ),
            Column(
                "predicted_gradient_norm",
                "–",
                "√(‖∇𝓛‖² + ⟨Σ, 𝓗²⟩), predicted root mean square of its gradient's length (C3)",
                "loss / parameter",
            ),
            relative("residual", "largest ‖P⁻¹𝓗v − λv‖ / λ₁ of the pairs, in the metric of P"),
            relative(
                "complementarity_residual",
                "how far X is from the solution of C2, relative; 0 below the edge",
            ),
            count(
                "power_iterations",
                "block products of the search for eigenpairs, and below the edge those of the flow",
                "products",
            ),
            flag("converged", "whether the residual of the pairs met the tolerance"),
        )

    def expected_steps(self, flow_time: float) -> float:
        return 10 + flow_time * self.substeps / self.learning_rate

    def products_per_step(self, outputs: int) -> float:
        """Two block products of two vectors, and third derivatives at the price of some more."""
        return 8.0

    def vectors_held(self, outputs: int) -> float:
        """The search's workspace, and third derivatives and images of four directions."""
        return 60.0

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """Two random vectors to search from, `basis` (2, P), and no oscillation.

        Raises: UserError where PyTorch's third derivatives of the network are wrong.
        """
        from eosflow.objectives.third_derivatives import CurvatureGraph, check_third_derivatives
        from eosflow.spectra.eigenpairs import random_start

        def slope_of(probe: Tensor) -> Tensor:
            return CurvatureGraph(objective.evaluate(theta)).third(probe[:, None])[0]

        check_third_derivatives(objective, theta, seed, self.name, slope_of)
        basis = random_start(len(theta), min(2, len(theta)), theta, seed).T
        return {"basis": basis, "at_edge": False}

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step; None if no force holds the curvature at the edge, as there is none.

        Raises: UserError where more directions are at the edge than are followed.
        """
        import torch

        from eosflow.objectives.third_derivatives import CurvatureGraph

        if not evaluation.gradient.isfinite().all():
            return None
        graph = CurvatureGraph(evaluation)
        try:
            found = self._search(graph, self._p(evaluation, state), cast("Tensor", state["basis"]))
            if not state["at_edge"]:
                taken = self._below(graph, found, state, max_flow_time)
                if taken is not None:
                    return taken
            return self._at_edge(graph, found, state, max_flow_time)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # 𝓗 is not finite
            return None

    def _below(
        self, evaluation: CurvatureGraph, found: EigenPairs, state: State, max_flow_time: float
    ) -> Step | None:
        """A step of the flow without oscillations; None if it would end beyond the edge."""
        return None

    def _at_edge(
        self, evaluation: CurvatureGraph, found: EigenPairs, state: State, max_flow_time: float
    ) -> Step | None:
        """A step of η/substeps."""
        from eosflow.optimizers.edge_force import Move, edge_force, nothing

        length = min(self.learning_rate / self.substeps, max_flow_time)
        metric = self._metric(evaluation, state, length)
        move = Move(found, metric, length)
        held = nothing(evaluation.theta)
        if near := self._near(found):
            held = edge_force(evaluation, found, near, metric, self.limit, move)
            if held.residual > UNSOLVED:
                return None
        theta = evaluation.theta - move(evaluation.gradient + held.force)
        if not theta.isfinite().all():
            return None
        after = {
            **state,
            "basis": self._next_basis(found),
            "at_edge": held.rank > 0,
            **self._remembered(evaluation, state, held, length),
        }
        facts = self._facts(evaluation, found, held)
        return Step(theta, after, length, facts, evaluation.objective.evaluate(theta))

    def _search(self, graph: CurvatureGraph, p: Tensor, basis: Tensor) -> EigenPairs:
        """The pairs of p^(−½)𝓗p^(−½) down to the first that is not near the edge."""
        import torch

        from eosflow.spectra.eigenpairs import random_start, top_eigenpairs

        scale = p.rsqrt()[:, None]

        def operator(block: Tensor, out: Tensor) -> Tensor:
            return graph.hessian((scale * block).T.contiguous().T, out).mul_(scale)

        while True:
            found = top_eigenpairs(operator, basis.T, EIGEN_TOLERANCE, MAX_PRODUCTS)
            size = len(found.values)
            if self._near(found) < size or size == len(scale * basis.T):
                return found
            if size > MOST_DIRECTIONS:
                raise UserError(
                    f"{self.name}: more than {MOST_DIRECTIONS} directions are at the edge of "
                    f"stability, {self.limit:.4g}, and all their pairs would need a third "
                    "derivative. Take a smaller learning_rate."
                )
            more = random_start(basis.shape[1], size, basis, size).T[-1:]
            basis = torch.cat([found.vectors.T, more])

    def _near(self, found: EigenPairs) -> int:
        """How many of the pairs may reach the edge within a step."""
        return int((found.values > NEAR * self.limit).sum())

    def _next_basis(self, found: EigenPairs) -> Tensor:
        """Where the next search begins: one pair less if the last two are far from the edge."""
        keep = max(2, self._near(found) + 2)
        return found.warm_start().T[:keep].clone()

    def _facts(self, evaluation: Evaluation, found: EigenPairs, held: EdgeForce) -> dict[str, Any]:
        sharpness = found.values[0].item()
        squared = evaluation.gradient.square().sum().item() + held.squared_norm
        return {
            "sharpness": sharpness,
            "slack": self.limit - sharpness,
            "rank": held.rank,
            "variance": sum(held.variances),
            "variance_1": held.variances[0] if held.variances else 0.0,
            "predicted_loss": evaluation.loss + held.loss,
            "predicted_gradient_norm": math.sqrt(squared),
            "residual": found.relative_residual,
            "complementarity_residual": held.residual,
            "power_iterations": found.applications,
            "converged": found.converged,
        }

    @abstractmethod
    def _title(self) -> str:
        """The name in words."""

    def _p(self, evaluation: Evaluation, state: State) -> Tensor:
        """p, (1,) or (P,)."""
        return evaluation.theta.new_ones(1)

    def _metric(self, evaluation: Evaluation, state: State, length: float) -> Metric:
        """p and how it changes over a step of this length."""
        from eosflow.optimizers.edge_force import Metric

        return Metric(self._p(evaluation, state))

    def _remembered(
        self, evaluation: Evaluation, state: State, held: EdgeForce, length: float
    ) -> State:
        """What of the state p follows from, after a step of this length."""
        return {}
