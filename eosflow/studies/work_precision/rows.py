"""Work–precision diagram: distance to the true flow at a fixed flow time against block products."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from eosflow.networks.mlp import MLPSettings
from eosflow.objectives.base import Evaluation, Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.flow import ExplicitEuler, ExponentialEuler, ExponentialHeun, RungeKutta4
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.runs.spec import RunSpec
from eosflow.studies.testbeds import DICE, FULL, drawn, initial, trajectory

SETTLED = 20  # steps of the paper's scheme: the diagram starts beyond the transient
FLOW_TIMES = (0.25, 1.0)
STEP_SIZES = (0.05, 0.02, 0.01, 0.005, 0.002)
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
WIDE = MLPSettings()
RK4_FRACTIONS = (2.0, 1.0, 0.5)  # of 1/λ₁


class Flow:
    """θ' = −∇𝓛(θ) from beyond the run's transient, counting gradients and products."""

    def __init__(self, spec: RunSpec, objective: Objective) -> None:
        self.spec = spec
        self.objective, self.gradients, evaluate = objective, 0, objective.evaluate

        def counted(theta: Tensor) -> Evaluation:
            self.gradients += 1
            return evaluate(theta)

        objective.evaluate = counted  # type: ignore[method-assign]
        theta = initial(objective, spec.init_seed)
        (state,) = trajectory(objective, spec.optimizer, theta, [SETTLED], seed=spec.init_seed)
        self.start = state.theta

    def reference(self, times: tuple[float, ...]) -> list[Tensor]:
        """θ at each flow time, by DOP853 with tight tolerances."""

        def velocity(_: float, state: NDArray[np.float64]) -> NDArray[np.float64]:
            evaluation = self.objective.evaluate(torch.from_numpy(state))
            velocity: NDArray[np.float64] = -evaluation.gradient.numpy()
            return velocity

        solution = solve_ivp(
            velocity, (0, times[-1]), self.start.numpy(), "DOP853", times, rtol=1e-9, atol=1e-11
        )
        return [torch.from_numpy(column) for column in solution.y.T]

    def follow(self, optimizer: Optimizer, end: float) -> tuple[Tensor, int, int]:
        """θ at the flow time `end`; how many gradients and applications of 𝓗 that took."""
        applications = 0

        def count(_: TrainState, current: Iteration) -> None:
            nonlocal applications
            if current.step is not None:
                applications += int(current.step.facts["power_iterations"])

        self.gradients = 0
        state = begin(self.objective, optimizer, FULL, self.start, self.spec.init_seed)
        follow(self.objective, optimizer, FULL, state, StopCriteria(flow_time=end), count)
        # The loop also evaluates the end, which no scheme needs.
        return state.theta, self.gradients - 1, applications


def schemes(
    euler: ExponentialEuler, coarse: bool = False
) -> Iterator[tuple[str, float, Optimizer]]:
    """Each scheme's name, step parameter and optimizer; eigenpairs are searched as by `euler`."""
    sizes = STEP_SIZES[:-1] if coarse else STEP_SIZES
    fractions = RK4_FRACTIONS[:1] if coarse else RK4_FRACTIONS
    search = {name: value for name, value in vars(euler).items() if name != "max_step_size"}
    for size in sizes:
        yield "exponential Euler", size, ExponentialEuler(max_step_size=size, **search)
    for size in sizes:
        yield "exponential Heun", size, ExponentialHeun(max_step_size=size, **search)
    for tolerance in TOLERANCES:
        yield "exponential Rosenbrock", tolerance, ExponentialRosenbrock(tolerance=tolerance)
    for fraction in fractions:
        yield "RK4", fraction, RungeKutta4(fraction=fraction)
    yield "gradient descent", 1.0, ExplicitEuler(fraction=1.0)


def rows(full_width: bool = False) -> Iterator[dict[str, Any]]:
    if not full_width:
        yield from study(DICE, drawn(DICE))
        return
    problem = dataclasses.replace(DICE, experiment="work-precision-full-width", network=WIDE)
    yield from study(problem, drawn(problem), FLOW_TIMES[:1], coarse=True)


def study(
    spec: RunSpec,
    objective: Objective,
    times: tuple[float, ...] = FLOW_TIMES,
    coarse: bool = False,
) -> Iterator[dict[str, Any]]:
    """One row per scheme, step parameter and flow time.

    A gradient counts as the share of a block product, that of K+1 vectors, that its operations are.
    """
    sizes = spec.shape, spec.outputs
    block, network = spec.outputs + 1, spec.network
    assert isinstance(network, MLPSettings)  # whose operations are known
    share = network.gradient_operations(*sizes) / (block * network.product_operations(*sizes))
    flow = Flow(spec, objective)
    exact = flow.reference(times)
    assert isinstance(spec.optimizer, ExponentialEuler)
    for scheme, parameter, optimizer in schemes(spec.optimizer, coarse):
        for end, target in zip(times, exact, strict=True):
            theta, gradients, applications = flow.follow(optimizer, end)
            error = ((theta - target).norm() / (target - flow.start).norm()).item()
            vectors = block if isinstance(optimizer, ExponentialEuler) else 1
            products = applications * vectors / block
            yield {
                "scheme": scheme,
                "step": parameter,
                "flow_time": end,
                "relative_error": error,
                "work": products + share * gradients,
                "block_products": products,
                "gradients": gradients,
            }
