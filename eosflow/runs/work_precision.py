"""Work–precision diagram: distance to the true flow at a fixed flow time against block products."""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from eosflow.datasets import DATASETS
from eosflow.datasets.pool import Resources
from eosflow.datasets.subsets import write_subset
from eosflow.networks.costs import gradient_operations, product_operations
from eosflow.objectives.mlp import Objective
from eosflow.optimizers.integrators import (
    exponential_euler,
    exponential_heun,
    runge_kutta_4,
    stable_step_size,
)
from eosflow.runs.folder import make_objective
from eosflow.runs.spec import RunSpec
from eosflow.runs.train import follow, initial_state
from eosflow.spectra.eigenpairs import Workspace, random_start, top_eigenpairs
from eosflow.storage.digests import canonical_json

log = logging.getLogger(__name__)

SETTINGS = {"image_size": 16, "images_per_class": 20000, "seed": 0}
# The same under any configuration: a problem whose flow a general solver can follow in a minute.
PROBLEM = RunSpec(
    experiment="work-precision",
    dataset="dice",
    dataset_settings=canonical_json(SETTINGS),
    criterion="cross_entropy",
    n=60,
    init_seed=0,
    subset_seed=0,
    width=64,
    depth=6,
    activation="elu",
    gain=math.sqrt(2),
    integrator="exponential-euler",
    max_step_size=0.01,
    eigen_tolerance=0.003,
    eigen_dtype="float64",
    max_block_products=12,
    target_loss=0.02,
    max_iterations=200000,
    snapshot_every=100,
    snapshot_also=(),
)
SETTLED = 20  # steps of the paper's scheme: the diagram starts beyond the transient
FLOW_TIMES = (0.25, 1.0)
STEP_SIZES = (0.05, 0.02, 0.01, 0.005, 0.002)
RK4_FRACTIONS = (2.0, 1.0, 0.5)  # of 1/λ₁
EXPONENTIAL = ("exponential Euler", "exponential Heun")


def problem() -> Objective:
    """The loss of `PROBLEM`, on images drawn for it."""
    with tempfile.TemporaryDirectory() as folder:
        subset = Path(folder) / "subset.npz"
        resources = Resources(archive=None, cache=Path(folder), device="cpu")
        seed, size = PROBLEM.subset_seed, PROBLEM.n
        write_subset(DATASETS["dice"], "dice", SETTINGS, seed, size, resources, subset)
        return make_objective(PROBLEM, subset, torch.device("cpu"))


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

        def velocity(_: float, state: NDArray[np.float64]) -> NDArray[np.float64]:
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
            yield scheme, size, partial(flow.exponential, scheme, size)
    for fraction in RK4_FRACTIONS:
        yield "RK4", fraction, partial(flow.explicit, "RK4", fraction)
    yield "gradient descent", 1.0, partial(flow.explicit, "gradient descent", 1.0)


def study(spec: RunSpec, objective: Objective) -> list[dict[str, Any]]:
    """One row a (scheme, step parameter, flow time): relative error and work in block products.

    The error is the distance to the reference over the distance that the reference travelled; a
    gradient counts as the share of a block product that its operations are.
    """
    share = gradient_operations(spec.dimensions, 1) / product_operations(
        spec.dimensions, 1, spec.dimensions[-1] + 1
    )
    flow = Flow(spec, objective)
    exact = flow.reference(FLOW_TIMES)
    log.info("a gradient counts as %.3f block products", share)
    log.info("reference: %d gradients", flow.gradients)
    rows = []
    for scheme, parameter, solve in schemes(flow):
        for end, target in zip(FLOW_TIMES, exact, strict=True):
            flow.gradients, flow.products = 0, 0.0
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
            line = "%-18s %-6g t = %-4g error %.2e work %.0f"
            log.info(line, scheme, parameter, end, error, work)
    return rows
