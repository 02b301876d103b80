"""Central flows: gradient descent and RMSprop averaged over their oscillations.

Below the edge of stability that is the flow itself. At the edge an optimizer oscillates along the
directions whose curvature is there. The covariance Σ of the oscillation adds ½⟨Σ, 𝓗⟩ to the mean of
the loss, and the gradient of that keeps the curvature at the edge. Source: Cohen, Damian,
Talwalkar, Kolter & Lee, Understanding optimization in deep learning with central flows,
arXiv:2410.24206.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import State, Step
from eosflow.optimizers.edge_flow import EdgeFlow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.objectives.third_derivatives import CurvatureGraph
    from eosflow.optimizers.edge_force import EdgeForce, Metric
    from eosflow.spectra.eigenpairs import EigenPairs

# A start so far beyond the edge that C2 would pull it back by one long step is refused; gradient
# descent at the edge itself goes a few percent beyond.
BEYOND = 1.1
# A step of the flow that would end beyond the edge is made shorter, down to so many steps of η.
SHORTEST = 2.0


class CentralFlow(EdgeFlow):
    """The central flow of gradient descent, dθ/dt = −∇𝓛 − ½∇⟨Σ, 𝓗⟩ with λ₁(𝓗) ≤ 2/η.

    Implements: C1–C3, C7. Σ ⪰ 0 is the smallest covariance that keeps λ₁ at the edge. Below the
    edge Σ = 0, and the path is the gradient flow, followed by `exponential-rosenbrock`. The
    trajectory has the predictions for gradient descent: mean loss, gradient norm and variance.

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
        graph = CurvatureGraph(objective.evaluate(theta))
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
        self, evaluation: CurvatureGraph, found: EigenPairs, state: State, max_flow_time: float
    ) -> Step | None:
        from eosflow.objectives.third_derivatives import CurvatureGraph
        from eosflow.optimizers.edge_force import nothing

        flow = ExponentialRosenbrock(tolerance=self.tolerance)
        longest, here = max_flow_time, found.values[0].item()
        shortest = min(SHORTEST * self.learning_rate, max_flow_time)
        while here < self.limit and longest >= shortest:
            taken = flow.step(evaluation, {"step_size": state["step_size"]}, longest)
            if taken is None or taken.evaluation is None:
                return None
            graph, basis = CurvatureGraph(taken.evaluation), self._next_basis(found)
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


class CentralFlowRMSprop(EdgeFlow):
    """The central flow of RMSprop: p = √ν + ε, dν/dt = ((1 − β₂)/(β₂η))(E[g²] − ν).

    Implements: C4. E[g²] = (∇𝓛)² + diag(𝓗Σ𝓗) is the mean of the squared gradient, entry by entry.
    t is flow time, η a step. ν begins at (∇𝓛)², as if RMSprop had corrected its first mean.
    """

    name: ClassVar[str] = "central-flow-rmsprop"

    beta2: float = Field(0.99, description="β₂, for the mean of the squares", gt=0, lt=1)
    epsilon: float = Field(1e-8, description="ε, added to the denominator", gt=0)

    @property
    def rotation_equivariant(self) -> bool:
        return False  # p is one number for each coordinate

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        squares = self._squares(objective.evaluate(theta).gradient)  # ν, (P,) or (1,)
        return {**super().init(objective, theta, seed), "square_mean": squares}

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
        alone = mean.lerp(self._squares(evaluation.gradient), share).sqrt() + self.epsilon
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
        return True

    def _title(self) -> str:
        return f"central flow of RMSprop with one mean for all, β₂ {self.beta2:g}"

    def _squares(self, gradient: Tensor) -> Tensor:
        return gradient.square().sum()[None]
