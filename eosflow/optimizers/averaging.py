"""Stochastic weight averaging: a run whose weights are the mean of those it passes through."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import State, Step
from eosflow.optimizers.gradient import GradientDescent

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective


class SWA(GradientDescent):
    """θ is the mean of w_{s+1} … w_t, w ← w − η_t∇𝓛(w) as in gradient-descent, s = average_after.

    The first s steps are those of gradient-descent, θ = w. Then w continues in the state, and θ,
    used by every snapshot, loss and measurement, is the mean of the weights after each step beyond
    s. Such a step also computes a gradient at θ, on which the weights do not depend. Source:
    Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018, with
    one learning rate and a mean over steps instead of epochs.
    """

    name: ClassVar[str] = "swa"
    version: ClassVar[int] = 1

    average_after: int = Field(
        description="s, steps before the first that is averaged", ge=0, examples=[10]
    )

    def products_per_step(self, outputs: int) -> float:
        """The second gradient costs about half a product."""
        return 0.5

    def vectors_held(self, outputs: int) -> float:
        """Those of gradient descent, w before and after the step, and the gradient at w."""
        return super().vectors_held(outputs) + 3.0

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """The state of gradient descent, and `weights`, w (P,)."""
        return {**super().init(objective, theta, seed), "weights": theta}

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step of w, then the mean; None if w is not finite."""
        averaged = cast(int, state["steps"]) - self.average_after
        if averaged <= 0:  # θ is w
            taken = super().step(evaluation, state, max_flow_time)
        else:
            ahead = evaluation.objective.evaluate(cast("Tensor", state["weights"]))
            taken = super().step(ahead, state, max_flow_time)
        if taken is None:
            return None
        weights = taken.theta
        theta = weights if averaged <= 0 else evaluation.theta.lerp(weights, 1 / (averaged + 1))
        return replace(taken, theta=theta, state={**taken.state, "weights": weights})

    def _words(self) -> list[str]:
        return [*super()._words(), f"weights averaged after {self.average_after} steps"]
