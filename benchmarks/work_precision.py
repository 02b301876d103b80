"""Work–precision diagram: distance to the true flow at a fixed flow time against block products."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from problems import gradient_flops, objective_of, paper_spec, product_flops
from scipy.integrate import solve_ivp
from torch import Tensor

from eosflow import figures
from eosflow.eigen import Workspace, random_start, top_eigenpairs
from eosflow.figures import studies, style
from eosflow.files import replacing
from eosflow.integrators import (
    exponential_euler,
    exponential_heun,
    runge_kutta_4,
    stable_step_size,
)
from eosflow.objective import Objective
from eosflow.spec import RunSpec
from eosflow.training import follow, initial_state

# The demo's Dice at N = 60: a real problem whose flow a general solver can follow in a minute.
PROBLEM = {
    "network": {"width": 64},
    "solver": {"eigen_dtype": "float64"},
    "datasets": {"dice": {"image_size": 16}},
    "experiments": {"dice-ce": {"n": [60]}},
}
SETTLED = 20  # steps of the paper's scheme: the diagram starts beyond the transient
FLOW_TIMES = (0.25, 1.0)
STEP_SIZES = (0.05, 0.02, 0.01, 0.005, 0.002)
RK4_FRACTIONS = (2.0, 1.0, 0.5)  # of 1/λ₁
EXPONENTIAL = ("exponential Euler", "exponential Heun")


class Flow:
    """θ' = −∇𝓛(θ) from beyond the run's transient, counting gradients and block products."""

    def __init__(self, spec: RunSpec, objective: Objective) -> None:
        self.spec = spec
        self.objective = objective
        state = initial_state(spec, objective)
        transient = dataclasses.replace(spec, max_iterations=SETTLED)
        follow(transient, objective, state, lambda *_: None)
        self.start = state.theta
        self.gradients = 0
        self.products = 0.0

    def gradient(self, theta: Tensor) -> Tensor:
        """∇𝓛(θ)."""
        self.gradients += 1
        point = self.objective.linearize(theta)
        point.release()
        return point.gradient

    def reference(self, times: tuple[float, ...]) -> list[Tensor]:
        """θ at each flow time, by DOP853 with tight tolerances."""

        def velocity(_: float, state: np.ndarray) -> np.ndarray:
            return -self.gradient(torch.from_numpy(state)).numpy()

        solution = solve_ivp(
            velocity, (0, times[-1]), self.start.numpy(), "DOP853", times, rtol=1e-9, atol=1e-11
        )
        return [torch.from_numpy(column) for column in solution.y.T]

    def exponential(self, scheme: str, step_size: float, end: float) -> Tensor:
        """θ at the flow time `end`, by an exponential scheme with η ≤ step_size."""
        theta, time = self.start, 0.0
        block = random_start(len(theta), self.spec.dimensions[-1] + 1, theta)
        workspace, previous = Workspace(len(theta), block.shape[1], theta), None
        limit = 10 * self.spec.max_block_products
        while time < end * (1 - 1e-12):
            point = self.objective.linearize(theta)
            self.gradients += 1
            tolerance = self.spec.eigen_tolerance
            pairs = top_eigenpairs(point.hessian, block, tolerance, limit, workspace)
            limit = self.spec.max_block_products
            self.products += pairs.applications
            step = min(stable_step_size(pairs, step_size), end - time)
            if scheme == "exponential Euler":
                theta = exponential_euler(theta, point.gradient, pairs, step)
            else:
                theta = exponential_heun(theta, point.gradient, pairs, step, self.gradient)
            pairs.warm_start(previous, out=block)
            previous = pairs.vectors.clone()
            point.release()
            time += step
        return theta

    def explicit(self, scheme: str, fraction: float, end: float) -> Tensor:
        """θ at `end` with the step fraction/λ₁, λ₁ brought up to date at every tenth step."""
        theta, time, count = self.start, 0.0, 0
        block = random_start(len(theta), 1, theta)
        sharpness = math.nan
        while time < end * (1 - 1e-12):
            point = self.objective.linearize(theta)
            if count % 10 == 0 or count < 10:
                pairs = top_eigenpairs(point.hessian, block, 0.01, 50)
                block, sharpness = pairs.vectors, pairs.values[0].item()
                self.products += pairs.products / (self.spec.dimensions[-1] + 1)
            self.gradients += 1
            step = min(fraction / sharpness, end - time)
            if scheme == "RK4":
                theta = runge_kutta_4(theta, point.gradient, step, self.gradient)
            else:
                theta = theta - step * point.gradient
            point.release()
            time, count = time + step, count + 1
        return theta


def schemes(flow: Flow) -> Iterator[tuple[str, float, Callable[[float], Tensor]]]:
    """(scheme, its step parameter, θ at a flow time)."""
    for scheme in EXPONENTIAL:
        for size in STEP_SIZES:
            yield scheme, size, lambda end, s=scheme, h=size: flow.exponential(s, h, end)
    for fraction in RK4_FRACTIONS:
        yield "RK4", fraction, lambda end, h=fraction: flow.explicit("RK4", h, end)
    yield "gradient descent", 1.0, lambda end: flow.explicit("gradient descent", 1.0, end)


def study() -> pd.DataFrame:
    """One row a (scheme, step parameter, flow time): relative error and work in block products."""
    spec = paper_spec("dice-ce", 60, **PROBLEM)
    objective, _ = objective_of(spec)
    share = gradient_flops(spec.dimensions, 1) / product_flops(
        spec.dimensions, 1, spec.dimensions[-1] + 1
    )
    flow = Flow(spec, objective)
    exact = flow.reference(FLOW_TIMES)
    rows = []
    print(f"a gradient counts as {share:.3f} block products; reference: {flow.gradients} gradients")
    for scheme, parameter, solve in schemes(flow):
        for end, target in zip(FLOW_TIMES, exact, strict=True):
            flow.gradients = flow.products = 0
            error = ((solve(end) - target).norm() / (target - flow.start).norm()).item()
            work = flow.products + share * flow.gradients
            rows.append(
                {
                    "scheme": scheme,
                    "step": parameter,
                    "flow_time": end,
                    "relative_error": error,
                    "work": work,
                    "block_products": flow.products,
                    "gradients": flow.gradients,
                }
            )
            print(
                f"{scheme:18s} {parameter:<6g} t = {end:<4g} error {error:.2e} work {work:.0f}",
                flush=True,
            )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/studies/work-precision"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    frame = study()
    with replacing(arguments.output / "work-precision.csv") as temporary:
        frame.to_csv(temporary, index=False)
    with style.applied():
        drawing = studies.work_precision(frame)
    stem = arguments.output / "work-precision"
    figures.save(drawing, stem.with_suffix(".pdf"), stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
