"""Methods that central flows are compared with: descent with noise, and flows without an edge."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import torch

from eosflow.objectives.base import Evaluation
from eosflow.objectives.third_derivatives import CurvatureGraph
from eosflow.optimizers.base import State, Step
from eosflow.optimizers.central_flow import CentralFlowRMSprop
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.spectra.eigenpairs import EigenPairs
from eosflow.spectra.randomness import generator


class Shaken(GradientDescent):
    """Gradient descent with Gaussian noise on the weights after each step, of deviation `noise`.

    Without it an instability starts from rounding errors and takes hundreds of steps to grow.
    """

    noise: float

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """A step of gradient descent, then the noise, with one random stream per step."""
        step = super().step(evaluation, state, max_flow_time)
        if step is None:
            return None
        stream = generator(int(cast(int, state["steps"])), "noise on the weights")
        noise = self.noise * torch.randn(len(step.theta), generator=stream, dtype=torch.float64)
        return dataclasses.replace(step, theta=step.theta + noise.to(step.theta))


class Flow(ExponentialRosenbrock):
    """The flow, by products from the graph of the gradient: of a small network they are cheaper."""

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """A step of `exponential-rosenbrock`, with its products from the graph."""
        return super().step(CurvatureGraph(evaluation), state, max_flow_time)


class Unheld(CentralFlowRMSprop):
    """RMSprop's flow without oscillations: nothing holds the curvature at the edge."""

    def _near(self, found: EigenPairs) -> int:
        return 0
