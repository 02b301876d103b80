"""Central flows: where gradient descent and RMSprop go in the mean over their oscillations.

Below the edge of stability that is the flow itself. At the edge an optimizer oscillates along the
directions whose curvature is there. The covariance Σ of the oscillation adds ½⟨Σ, 𝓗⟩ to the mean of
the loss, and the gradient of that keeps the curvature at the edge. Source: Cohen, Damian,
Talwalkar, Kolter & Lee, Understanding optimization in deep learning with central flows,
arXiv:2410.24206.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.storage.columns import Column, Columns
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
# A start so far beyond the edge that C2 would pull it back by one long step is refused; gradient
# descent at the edge itself goes a few percent beyond.
BEYOND = 1.1
# A step of the flow that would end beyond the edge is made shorter, down to so many steps of η.
SHORTEST = 2.0


class _CentralFlow(Optimizer):
    """dθ/dt = −p⁻¹(∇𝓛 + ½∇⟨Σ, 𝓗⟩) with 𝓗 ⪯ (2/η) diag(p), for an optimizer θ ← θ − η∇𝓛/p."""

    rows: ClassVar[str] = "p is 1 for the central flow of gradient descent."
    follows_flow: ClassVar[bool] = True
    lands_on_target: ClassVar[bool] = True
    transient: ClassVar[int] = 0

    learning_rate: float = Field(
        description="learning rate η of the optimizer that is followed", gt=0, examples=[0.1]
    )
    substeps: int = Field(1, description="steps at the edge per step of the optimizer", ge=1)

    @property
    def rotation_equivariant(self) -> bool:
        """Whether the path is the same in any orthonormal coordinates of θ that hold ∇𝓛."""
        return True

    @property
    def limit(self) -> float:
        """2/η, the largest curvature that is stable in the metric of the optimizer."""
        return 2 / self.learning_rate

    def describe(self) -> str:
        """The optimizer in words, for the report."""
        return f"{self._title()}, learning rate {self.learning_rate:g}"

    def columns(self, parameters: int, outputs: int) -> Columns:
        """The edge, what the flow predicts of the optimizer's oscillation, and how exactly."""
        return (
            Column(
                "sharpness",
                "λ₁(P⁻¹𝓗)",
                "largest eigenvalue of P⁻¹𝓗, P = diag(p) (C1, C4)",
                "loss / parameter²",
            ),
            Column(
                "slack",
                "–",
                "2/η less the sharpness; where negative, the step before missed the edge by so "
                "much (C2)",
                "loss / parameter²",
            ),
            Column(
                "rank",
                "–",
                "how many directions oscillate, the rank of Σ (C2)",
                "directions",
                "int64",
            ),
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
            Column(
                "residual", "–", "largest ‖P⁻¹𝓗v − λv‖ / λ₁ of the pairs, in the metric of P", "–"
            ),
            Column(
                "complementarity_residual",
                "–",
                "how far X is from the solution of C2, relative; 0 below the edge",
                "–",
            ),
            Column(
                "power_iterations",
                "–",
                "block products of the search for eigenpairs, and below the edge those of the flow",
                "products",
                "int64",
            ),
            Column(
                "converged",
                "–",
                "whether the residual of the pairs met the tolerance",
                "true or false",
                "bool",
            ),
        )

    def expected_steps(self, flow_time: float) -> float:
        """At the edge they are of η/substeps."""
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
            evaluation = objective.evaluate(theta)
            return CurvatureGraph(objective, evaluation).third(probe[:, None])[0]

        check_third_derivatives(objective, theta, seed, self.name, slope_of)
        basis = random_start(len(theta), min(2, len(theta)), theta, seed).T
        return {"basis": basis, "at_edge": False}

    def step(
        self,
        objective: Objective,
        evaluation: Evaluation,
        state: State,
        max_flow_time: float = math.inf,
    ) -> Step | None:
        """One step; None if no force holds the curvature at the edge, as there is none.

        Raises: UserError where more directions are at the edge than are followed.
        """
        import torch

        from eosflow.objectives.third_derivatives import CurvatureGraph

        if not evaluation.gradient.isfinite().all():
            return None
        graph = CurvatureGraph(objective, evaluation)
        try:
            found = self._search(graph, self._p(evaluation, state), cast("Tensor", state["basis"]))
            if not state["at_edge"]:
                taken = self._below(objective, evaluation, found, state, max_flow_time)
                if taken is not None:
                    return taken
            return self._at_edge(objective, evaluation, graph, found, state, max_flow_time)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # 𝓗 is not finite
            return None

    def _below(
        self,
        objective: Objective,
        evaluation: Evaluation,
        found: EigenPairs,
        state: State,
        max_flow_time: float,
    ) -> Step | None:
        """A step of the flow without oscillations; None if it would end beyond the edge."""
        return None

    def _at_edge(
        self,
        objective: Objective,
        evaluation: Evaluation,
        graph: CurvatureGraph,
        found: EigenPairs,
        state: State,
        max_flow_time: float,
    ) -> Step | None:
        """A step of η/substeps."""
        from eosflow.optimizers.edge_force import Move, edge_force, nothing

        length = min(self.learning_rate / self.substeps, max_flow_time)
        metric = self._metric(evaluation, state, length)
        move = Move(found, metric, length)
        held = nothing(evaluation.theta)
        if near := self._near(found):
            held = edge_force(graph, evaluation, found, near, metric, self.limit, move)
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
        return Step(theta, after, length, facts, objective.evaluate(theta))

    def _search(self, graph: CurvatureGraph, p: Tensor, basis: Tensor) -> EigenPairs:
        """The pairs of p^(−½)𝓗p^(−½) down to the first that is not near the edge."""
        import torch

        from eosflow.spectra.eigenpairs import random_start, top_eigenpairs

        scale = p.rsqrt()[:, None]

        def operator(block: Tensor, out: Tensor) -> Tensor:
            return graph.hessian((scale * block).T.contiguous().T, out).mul_(scale)

        while True:
            found = top_eigenpairs(operator, basis.T, EIGEN_TOLERANCE, MAX_PRODUCTS)
            count = len(found.values)
            if self._near(found) < count or count == len(scale * basis.T):
                return found
            if count > MOST_DIRECTIONS:
                raise UserError(
                    f"{self.name}: more than {MOST_DIRECTIONS} directions are at the edge of "
                    f"stability, {self.limit:.4g}, and all their pairs would need a third "
                    "derivative. Take a smaller learning_rate."
                )
            more = random_start(basis.shape[1], count, basis, count).T[-1:]
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

    @abstractmethod
    def _p(self, evaluation: Evaluation, state: State) -> Tensor:
        """p, (1,) or (P,)."""

    @abstractmethod
    def _metric(self, evaluation: Evaluation, state: State, length: float) -> Metric:
        """p and how it changes over a step of this length."""

    def _remembered(
        self, evaluation: Evaluation, state: State, held: EdgeForce, length: float
    ) -> State:
        """What of the state p follows from, after a step of this length."""
        return {}


class CentralFlow(_CentralFlow):
    """The central flow of gradient descent, dθ/dt = −∇𝓛 − ½∇⟨Σ, 𝓗⟩ with λ₁(𝓗) ≤ 2/η.

    Implements: C1–C3, C7. Σ ⪰ 0 is the least covariance that keeps λ₁ at the edge; it is 0 below
    it, where the path is the gradient flow, followed by `exponential-rosenbrock`. The trajectory
    has what the flow predicts of gradient descent: mean loss, gradient norm and variance.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 9), torch.nn.Tanh(), torch.nn.Linear(9, 1))
    >>> x = torch.linspace(-1, 1, 8)[:, None]
    >>> problem = eosflow.Problem(net, "half_squared_error", (x, x.cos()))
    >>> run = eosflow.follow(problem, eosflow.CentralFlow(learning_rate=0.3), until_flow_time=6)
    >>> bool((run.trajectory["sharpness"] <= 2 / 0.3 + 1e-3).all())
    True
    """

    name: ClassVar[str] = "central-flow"

    tolerance: float = Field(
        1e-3, description="tolerance of exponential-rosenbrock below the edge", gt=0, le=0.1
    )

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """Also the first step size of the flow, 0: it finds one.

        Raises: UserError also for a start beyond the edge, which gradient descent leaves at once.
        """
        from eosflow.objectives.third_derivatives import CurvatureGraph

        state = {**super().init(objective, theta, seed), "step_size": 0.0}
        evaluation = objective.evaluate(theta)
        graph = CurvatureGraph(objective, evaluation)
        found = self._search(graph, theta.new_ones(1), cast("Tensor", state["basis"]))
        sharpness = found.values[0].item()
        if sharpness > BEYOND * self.limit:
            raise UserError(
                f"{self.name}: the sharpness at the start is {sharpness:.4g}, far beyond the edge "
                f"2/learning_rate = {self.limit:.4g}: gradient descent leaves such a place at once "
                f"and has no central flow there. Take a learning_rate below {2 / sharpness:.4g}."
            )
        return state

    def _below(
        self,
        objective: Objective,
        evaluation: Evaluation,
        found: EigenPairs,
        state: State,
        max_flow_time: float,
    ) -> Step | None:
        from eosflow.objectives.third_derivatives import CurvatureGraph
        from eosflow.optimizers.edge_force import nothing

        flow = ExponentialRosenbrock(tolerance=self.tolerance)
        longest, here = max_flow_time, found.values[0].item()
        shortest = min(SHORTEST * self.learning_rate, max_flow_time)
        while here < self.limit and longest >= shortest:
            taken = flow.step(objective, evaluation, {"step_size": state["step_size"]}, longest)
            if taken is None or taken.evaluation is None:
                return None
            graph, basis = CurvatureGraph(objective, taken.evaluation), self._next_basis(found)
            ahead = self._search(graph, evaluation.theta.new_ones(1), basis)
            there = ahead.values[0].item()
            if there <= self.limit:
                facts = self._facts(evaluation, found, nothing(evaluation.theta))
                facts["power_iterations"] += ahead.applications + taken.facts["power_iterations"]
                after = {**state, **taken.state, "basis": self._next_basis(ahead)}
                return Step(taken.theta, after, taken.step_size, facts, taken.evaluation)
            share = (self.limit - here) / (there - here)
            longest = taken.step_size * max(0.1, 0.9 * share)
        return None

    def _title(self) -> str:
        return "central flow of gradient descent"

    def _p(self, evaluation: Evaluation, state: State) -> Tensor:
        return evaluation.theta.new_ones(1)

    def _metric(self, evaluation: Evaluation, state: State, length: float) -> Metric:
        from eosflow.optimizers.edge_force import Metric

        return Metric(self._p(evaluation, state))


class CentralFlowRMSprop(_CentralFlow):
    """The central flow of RMSprop: p = √ν + ε, dν/dt = ((1 − β₂)/(β₂η))(E[g²] − ν).

    Implements: C4. E[g²] = (∇𝓛)² + diag(𝓗Σ𝓗) is the mean of the squared gradient, entry by entry.
    t is flow time, η a step. ν begins at (∇𝓛)², as if RMSprop had corrected its first mean.
    """

    name: ClassVar[str] = "central-flow-rmsprop"

    beta2: float = Field(0.99, description="β₂, for the mean of the squares", gt=0, lt=1)
    epsilon: float = Field(1e-8, description="ε, added to the denominator", gt=0)

    @property
    def rotation_equivariant(self) -> bool:
        """No: p is one number for each coordinate."""
        return False

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """Also ν, `square_mean`, (P,) or (1,)."""
        gradient = objective.evaluate(theta).gradient
        return {
            **super().init(objective, theta, seed),
            "square_mean": self._squares(gradient),
        }

    def _title(self) -> str:
        return f"central flow of RMSprop, β₂ {self.beta2:g}"

    def _p(self, evaluation: Evaluation, state: State) -> Tensor:
        return cast("Tensor", state["square_mean"]).sqrt() + self.epsilon

    def _share(self, length: float) -> float:
        """How far ν goes towards E[g²] over a step of this length."""
        return -math.expm1(-(1 - self.beta2) / self.beta2 * length / self.learning_rate)

    def _metric(self, evaluation: Evaluation, state: State, length: float) -> Metric:
        from eosflow.optimizers.edge_force import Metric

        p, mean = self._p(evaluation, state), cast("Tensor", state["square_mean"])
        share = self._share(length)
        alone = mean.lerp(self._squares(evaluation.gradient), share).sqrt()
        alone = alone + self.epsilon
        return Metric(p, alone - p, share / (2 * alone))  # ε keeps finite what has no gradient

    def _remembered(
        self, evaluation: Evaluation, state: State, held: EdgeForce, length: float
    ) -> State:
        squares = self._squares(evaluation.gradient) + held.squares
        mean = cast("Tensor", state["square_mean"]).lerp(squares, self._share(length))
        return {"square_mean": mean}

    def _squares(self, gradient: Tensor) -> Tensor:
        return gradient.square()


class CentralFlowScalarRMSprop(CentralFlowRMSprop):
    """The central flow of RMSprop with one ν for all coordinates, a mean of ‖∇𝓛‖².

    Implements: C4, with E[g²] = ‖∇𝓛‖² + Tr(𝓗Σ𝓗): gradient descent with the step η/(√ν + ε).
    """

    name: ClassVar[str] = "central-flow-scalar-rmsprop"

    @property
    def rotation_equivariant(self) -> bool:
        """Yes: p is the same in all directions."""
        return True

    def _title(self) -> str:
        return f"central flow of RMSprop with one mean for all, β₂ {self.beta2:g}"

    def _squares(self, gradient: Tensor) -> Tensor:
        return gradient.square().sum()[None]
