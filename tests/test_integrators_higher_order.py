"""The schemes beyond the paper's: order against a tight reference, and limits in closed form."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from problems import small_problem
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from eosflow.objectives.mlp import Objective
from eosflow.optimizers.integrators import INTEGRATORS, exponential_heun, runge_kutta_4, second_phi
from eosflow.runs.spec import expand
from eosflow.runs.train import State, follow
from eosflow.spectra.eigenpairs import EigenPairs, random_start, top_eigenpairs


@pytest.mark.parametrize("exponent", [0.0, -1e-12, -1e-4, -9.9e-4, -1.1e-3, -0.3, -7.0, -900.0])
def test_second_phi_equals_the_integral_it_stands_for(exponent: float) -> None:
    # φ₂(z) = ∫₀¹ e^{(1−s)z} s ds
    expected = quad(
        lambda s: math.exp((1 - s) * exponent) * s, 0, 1, epsabs=1e-13, points=[1 - 1e-2]
    )[0]
    actual = second_phi(torch.tensor([exponent], dtype=torch.float64)).item()
    assert actual == pytest.approx(expected, rel=1e-9)


def exact_flow(objective: Objective, theta: Tensor, end: float) -> np.ndarray:
    def velocity(_: float, state: np.ndarray) -> np.ndarray:
        return -objective.linearize(torch.from_numpy(state)).gradient.numpy()

    return solve_ivp(velocity, (0, end), theta.numpy(), "DOP853", rtol=1e-9, atol=1e-10).y[:, -1]


def test_heun_error_at_fixed_flow_time_is_of_second_order() -> None:
    objective, theta = small_problem("cross_entropy")
    end, counts, errors = 0.1, (10, 20, 40), []
    exact = exact_flow(objective, theta, end)
    start = random_start(len(theta), 5, theta)
    for count in counts:
        state = theta
        for _ in range(count):
            point = objective.linearize(state)
            pairs = top_eigenpairs(point.hessian, start, 1e-6, 1000)
            start = pairs.vectors
            state = exponential_heun(
                state,
                point.gradient,
                pairs,
                end / count,
                lambda t: objective.linearize(t).gradient,
            )
        errors.append(np.linalg.norm(state.numpy() - exact))
    order = np.polyfit(np.log([end / count for count in counts]), np.log(errors), 1)[0]
    assert order == pytest.approx(2, abs=0.3)
    assert errors[-1] < 1e-3 * np.linalg.norm(exact - theta.numpy())


def test_runge_kutta_is_of_fourth_order_on_a_smooth_flow() -> None:
    # θ' = −θ³, whose solution is θ/√(1 + 2θ²t). ELU's φ'' jumps at 0 and would limit the order.
    theta = torch.tensor([0.5, -0.25], dtype=torch.float64)
    exact = theta / (1 + 2 * theta.square()).sqrt()
    counts, errors = (16, 32, 64), []
    for count in counts:
        state = theta
        for _ in range(count):
            state = runge_kutta_4(state, state**3, 1 / count, lambda t: t**3)
        errors.append((state - exact).norm().item())
    order = np.polyfit(np.log([1 / count for count in counts]), np.log(errors), 1)[0]
    assert order == pytest.approx(4, abs=0.4)


@pytest.mark.parametrize("step_size", [0.01, 1.0, 50.0])
def test_heun_is_exact_along_tracked_directions_of_a_quadratic(step_size: float) -> None:
    stream = torch.Generator().manual_seed(1)
    vectors = torch.linalg.qr(torch.randn(12, 12, generator=stream, dtype=torch.float64)).Q
    eigenvalues = torch.tensor([90.0, 40, 7, 1.5, *[0.01] * 8], dtype=torch.float64)
    matrix = (vectors * eigenvalues) @ vectors.T
    theta = torch.randn(12, generator=stream, dtype=torch.float64)
    values, columns = torch.linalg.eigh(matrix)
    values, columns = values.flip(0)[:5], columns.flip(1)[:, :5]
    pairs = EigenPairs(values, columns, matrix @ columns, torch.zeros(5), True, 1, 5, 0.01)
    after = exponential_heun(theta, matrix @ theta, pairs, step_size, lambda t: matrix @ t)
    expected = torch.linalg.matrix_exp(-step_size * matrix) @ theta
    tracked, untracked = vectors[:, :4].T, vectors[:, 4:].T
    torch.testing.assert_close(tracked @ after, tracked @ expected, rtol=0, atol=1e-10)
    # Along everything else it is Heun's rule: 1 − z + z²/2.
    z = 0.01 * step_size
    torch.testing.assert_close(
        untracked @ after, untracked @ theta * (1 - z + z * z / 2), rtol=0, atol=1e-10
    )


def test_training_follows_the_flow_closer_by_the_second_order_scheme() -> None:
    # The training loop itself, at the same step size and number of products.
    config = yaml.safe_load((Path(__file__).parent.parent / "config.yaml").read_text())
    spec = next(iter(expand(config).values()))
    knobs = {"max_step_size": 0.02, "eigen_tolerance": 1e-5, "max_block_products": 1000}
    spec = dataclasses.replace(spec, **knobs, max_iterations=5, target_loss=0.0)
    objective, theta = small_problem("cross_entropy")
    exact = exact_flow(objective, theta, 0.1)
    errors = {}
    for name in INTEGRATORS:
        state = State(theta, random_start(len(theta), 5, theta))
        follow(dataclasses.replace(spec, integrator=name), objective, state, lambda *_: None)
        assert state.flow_time == pytest.approx(0.1)
        errors[name] = np.linalg.norm(state.theta.numpy() - exact)
    assert errors["exponential-heun"] < 0.1 * errors["exponential-euler"]
