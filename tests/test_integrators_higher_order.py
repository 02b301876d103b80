"""The schemes beyond the paper's: order against a tight reference, and limits in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import dense_hessian
from problems import small_problem
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.flow import ExplicitEuler, ExponentialEuler, ExponentialHeun, RungeKutta4
from eosflow.optimizers.integrators import exponential_heun, runge_kutta_4, second_phi
from eosflow.optimizers.loop import StopCriteria, begin, follow
from eosflow.spectra.eigenpairs import EigenPairs, random_start, top_eigenpairs


@pytest.mark.parametrize("exponent", [0.0, -1e-12, -1e-4, -9.9e-4, -1.1e-3, -0.3, -7.0, -900.0])
def test_second_phi_equals_the_integral_it_stands_for(exponent: float) -> None:
    # φ₂(z) = ∫₀¹ e^{(1−s)z} s ds
    expected = quad(
        lambda s: math.exp((1 - s) * exponent) * s, 0, 1, epsabs=1e-13, points=[1 - 1e-2]
    )[0]
    actual = second_phi(torch.tensor([exponent], dtype=torch.float64)).item()
    assert actual == pytest.approx(expected, rel=1e-9)


def exact_flow(objective: MLPObjective, theta: Tensor, end: float) -> np.ndarray:
    def velocity(_: float, state: np.ndarray) -> np.ndarray:
        return -objective.evaluate(torch.from_numpy(state)).gradient.numpy()

    return solve_ivp(velocity, (0, end), theta.numpy(), "DOP853", rtol=1e-9, atol=1e-10).y[:, -1]


def test_heun_error_at_fixed_flow_time_is_of_second_order() -> None:
    objective, theta = small_problem("cross_entropy")
    end, counts, errors = 0.1, (10, 20, 40), []
    exact = exact_flow(objective, theta, end)
    start = random_start(len(theta), 5, theta)
    for count in counts:
        state = theta
        for _ in range(count):
            evaluation = objective.evaluate(state)
            pairs = top_eigenpairs(evaluation.hessian, start, 1e-6, 1000)
            start = pairs.vectors
            state = exponential_heun(
                state,
                evaluation.gradient,
                pairs,
                end / count,
                lambda t: objective.evaluate(t).gradient,
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


def test_the_loop_follows_the_flow_closer_by_the_second_order_scheme() -> None:
    # At the same step size and number of products, to a flow time that is met exactly.
    settings = {"max_step_size": 0.02, "eigen_tolerance": 1e-5, "max_block_products": 1000}
    objective, theta = small_problem("cross_entropy")
    exact, errors = exact_flow(objective, theta, 0.11), {}
    for kind in (ExponentialEuler, ExponentialHeun):
        optimizer = kind(**settings)
        train_state = begin(objective, optimizer, FullBatch(), theta, seed=0)
        until = StopCriteria(flow_time=0.11)
        reason = follow(objective, optimizer, FullBatch(), train_state, until, lambda *_: None)
        assert (reason, train_state.iteration) == ("flow_time", 6)
        assert train_state.flow_time == pytest.approx(0.11, rel=1e-12)
        errors[kind] = np.linalg.norm(train_state.theta.numpy() - exact)
    assert errors[ExponentialHeun] < 0.1 * errors[ExponentialEuler]


@pytest.mark.parametrize("kind", [ExplicitEuler, RungeKutta4])
def test_explicit_steps_are_set_by_the_sharpness(kind: type[ExplicitEuler]) -> None:
    objective, theta = small_problem("cross_entropy")
    optimizer = kind(fraction=0.5, max_step_size=10.0)
    state = optimizer.init(objective, theta, 0)
    evaluation = objective.evaluate(theta)
    step = optimizer.step(objective, evaluation, state)
    assert step is not None
    hessian = dense_hessian(objective, "cross_entropy", theta)
    largest = torch.linalg.eigvalsh(hessian)[-1].item()
    assert step.step_size == pytest.approx(0.5 / largest, rel=1e-3)
    short = optimizer.step(objective, evaluation, state, max_flow_time=1e-3)
    assert short is not None and short.step_size == 1e-3
    along = theta - 1e-3 * evaluation.gradient
    torch.testing.assert_close(short.theta, along, rtol=0, atol=1e-3 if kind is RungeKutta4 else 0)
    assert optimizer.step(objective, evaluation, state) is not None  # nothing was used up
