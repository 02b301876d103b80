"""Schemes of the flow: exact where they should be, of their order elsewhere, as their authors'."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import stable_solvers
import torch
from oracles import dense_hessian, exact_phi
from problems import small_problem
from scipy.integrate import solve_ivp
from torch import Tensor

from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import (
    ExplicitEuler,
    ExponentialEuler,
    RungeKutta4,
    downhill,
    gradient_of,
)
from eosflow.optimizers.integrators import (
    exponential_euler,
    exponential_heun,
    relaxation,
    runge_kutta_4,
    second_phi,
    stable_step_size,
)
from eosflow.spectra.eigenpairs import EigenPairs, random_start, top_eigenpairs


def dense_pairs(matrix: Tensor, count: int) -> EigenPairs:
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    return EigenPairs(
        values, vectors, matrix @ vectors, torch.zeros(count), True, 1, count, values[-1].item()
    )


@pytest.mark.parametrize("eigenvalue", [-3.0, -1e-9, 0.0, 1e-12, 1e-6, 0.5, 40.0, 1e6])
@pytest.mark.parametrize("step_size", [1e-6, 0.01, 1.0])
def test_relaxation_is_phi_1_and_no_longer_than_the_step(
    eigenvalue: float, step_size: float
) -> None:
    expected = step_size * min(exact_phi(1, -eigenvalue * step_size), 1)
    actual = relaxation(torch.tensor([eigenvalue], dtype=torch.float64), step_size)
    assert actual.item() == pytest.approx(expected, rel=1e-12)


def test_step_size_is_bounded_by_the_next_eigenvalue() -> None:
    pairs = dense_pairs(torch.diag(torch.tensor([100.0, 50.0, 4.0])).double(), 3)
    assert stable_step_size(pairs, 1.0) == 0.25
    assert stable_step_size(pairs, 0.1) == 0.1
    flat = dense_pairs(torch.zeros(3, 3, dtype=torch.float64), 2)
    assert stable_step_size(flat, 0.1) == 0.1


@pytest.mark.parametrize("exponent", [0.0, -1e-12, -1e-4, -9.9e-4, -1.1e-3, -0.3, -7.0, -900.0])
def test_second_phi_is_exact_near_0_and_far_from_it(exponent: float) -> None:
    actual = second_phi(torch.tensor([exponent], dtype=torch.float64)).item()
    assert actual == pytest.approx(exact_phi(2, exponent), rel=1e-9)


@pytest.mark.parametrize("step_size", [0.01, 1.0, 50.0])
def test_exact_along_tracked_directions_of_a_quadratic_for_any_step(step_size: float) -> None:
    stream = torch.Generator().manual_seed(1)
    vectors = torch.linalg.qr(torch.randn(12, 12, generator=stream, dtype=torch.float64)).Q
    eigenvalues = torch.tensor([90.0, 40, 7, 1.5, *[0.01] * 8], dtype=torch.float64)
    matrix = (vectors * eigenvalues) @ vectors.T
    theta = torch.randn(12, generator=stream, dtype=torch.float64)
    pairs, z = dense_pairs(matrix, 5), 0.01 * step_size
    euler = exponential_euler(theta, matrix @ theta, pairs, step_size)
    heun = exponential_heun(theta, matrix @ theta, pairs, step_size, lambda t: matrix @ t)
    expected = torch.linalg.matrix_exp(-step_size * matrix) @ theta
    tracked, untracked = vectors[:, :4].T, vectors[:, 4:].T
    # Along everything else each is the explicit rule. η·g, up to 4,500 here, is added and taken
    # away again: its round-off stays.
    for after, factor, atol in ((euler, 1 - z, 1e-11), (heun, 1 - z + z * z / 2, 1e-10)):
        torch.testing.assert_close(tracked @ after, tracked @ expected, rtol=0, atol=atol)
        along = untracked @ theta * factor
        torch.testing.assert_close(untracked @ after, along, rtol=0, atol=atol)


def exact_flow(objective: MLPObjective, theta: Tensor, end: float) -> np.ndarray:
    def velocity(_: float, state: np.ndarray) -> np.ndarray:
        return -objective.evaluate(torch.from_numpy(state)).gradient.numpy()

    return solve_ivp(velocity, (0, end), theta.numpy(), "DOP853", rtol=1e-9, atol=1e-10).y[:, -1]


@pytest.mark.parametrize(
    ("end", "order", "within", "left"), [(0.4, 1, 0.1, 0.08), (0.1, 2, 0.3, 4e-3)]
)
def test_the_error_at_a_flow_time_falls_with_the_order_of_the_scheme(
    end: float, order: int, within: float, left: float
) -> None:
    objective, theta = small_problem("cross_entropy")
    exact = exact_flow(objective, theta, end)
    start, counts, errors = random_start(len(theta), 5, theta), (10, 20), []
    gradient = gradient_of(objective)
    for count in counts:
        state, size = theta, end / count
        for _ in range(count):
            evaluation = objective.evaluate(state)
            pairs = top_eigenpairs(evaluation.hessian, start, 1e-6, 1000)
            start, given = pairs.vectors, (state, evaluation.gradient, pairs, size)
            state = exponential_euler(*given) if order == 1 else exponential_heun(*given, gradient)
        errors.append(np.linalg.norm(state.numpy() - exact))
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert -slope == pytest.approx(order, abs=within)
    assert errors[-1] < left * np.linalg.norm(exact - theta.numpy())


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


@pytest.mark.parametrize("kind", [ExplicitEuler, RungeKutta4])
def test_explicit_steps_are_set_by_the_sharpness(kind: type[ExplicitEuler]) -> None:
    objective, theta = small_problem("cross_entropy")
    optimizer = kind(fraction=0.5, max_step_size=10.0)
    state = optimizer.init(objective, theta, 0)
    evaluation = objective.evaluate(theta)
    step = optimizer.step(evaluation, state)
    largest = torch.linalg.eigvalsh(dense_hessian(objective, "cross_entropy", theta))[-1].item()
    assert step.step_size == pytest.approx(0.5 / largest, rel=1e-3)
    short = optimizer.step(evaluation, state, max_flow_time=1e-3)
    assert short.step_size == 1e-3
    along = theta - 1e-3 * evaluation.gradient
    torch.testing.assert_close(short.theta, along, rtol=0, atol=1e-3 if kind is RungeKutta4 else 0)


def test_a_step_that_raises_the_loss_is_taken_again_at_half_the_size() -> None:
    objective, theta = small_problem("cross_entropy")
    evaluation = objective.evaluate(theta)
    following, step_size, rejected = downhill(
        evaluation, lambda size: theta - size * evaluation.gradient, 1000.0
    )
    assert following.loss <= evaluation.loss
    assert rejected > 0 and step_size == 1000.0 / 2**rejected
    # The next step begins at twice the size that was left, and at no more.
    optimizer = ExponentialEuler(max_step_size=1000.0)
    state = {**optimizer.init(objective, theta, 0), "step_limit": 1e-3}
    step = optimizer.step(evaluation, state)
    assert (step.step_size, step.state["step_limit"]) == (1e-3, 2e-3)


def test_agrees_step_by_step_with_the_authors_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, theta = small_problem("cross_entropy", seed=2)
    layers: list[torch.nn.Module] = []
    for into, out in itertools.pairwise(objective.network.dimensions):
        layers += [torch.nn.Linear(into, out, dtype=torch.float64), torch.nn.ELU()]
    data = torch.utils.data.TensorDataset(objective.inputs, objective.targets)
    module, criterion = torch.nn.Sequential(*layers[:-1]), torch.nn.CrossEntropyLoss()
    loss = stable_solvers.LossFunction(data, criterion, module, batch_size=len(data))
    solver = stable_solvers.ExponentialEulerSolver(theta.clone(), loss, 0.6, 4)
    # Its eigenpairs stop at a change of 1e-4 in the eigenvalues; tightened, so that what is left
    # of a difference would be one of formulas.
    tight = functools.partial(stable_solvers.solvers.loss_hessian_eigenvector, tol=1e-11)

    def solve(*args: object, **options: object) -> object:
        return tight(*args, **{**options, "max_iters": 100_000})

    monkeypatch.setattr(stable_solvers.solvers, "loss_hessian_eigenvector", solve)
    solver.eigvecs = random_start(len(theta), 5, theta)
    state, step_sizes = theta, []
    for _ in range(5):
        evaluation = objective.evaluate(state)
        start = random_start(len(theta), 5, theta)
        pairs = top_eigenpairs(evaluation.hessian, start, 1e-11, 1000)
        # Both find the same pairs only while no negative eigenvalue dominates the fifth.
        assert -pairs.smallest < pairs.values[-1]
        step_size = stable_step_size(pairs, 0.6)
        state = exponential_euler(state, evaluation.gradient, pairs, step_size)
        report = solver.step()
        step_sizes.append(step_size)
        assert report.loss == pytest.approx(evaluation.loss, rel=1e-7)
        assert report.dt == pytest.approx(step_size, rel=1e-6)
        moved = (state - theta).norm()
        assert (solver.params - state).norm() <= 1e-6 * moved
    assert evaluation.loss < 0.9 * objective.evaluate(theta).loss
    assert min(step_sizes) < 0.5 < max(step_sizes)  # E15's bound was at work, not only the maximum
