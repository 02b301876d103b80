"""Exponential Euler: exact where it should be, of first order elsewhere, as its authors' own."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import stable_solvers
import torch
from problems import small_problem
from scipy.integrate import solve_ivp
from torch import Tensor

from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.integrators import exponential_euler, relaxation, stable_step_size
from eosflow.spectra.eigenpairs import EigenPairs, random_start, top_eigenpairs


def pairs_of(objective: MLPObjective, theta: Tensor, count: int, rtol: float = 1e-11) -> EigenPairs:
    evaluation = objective.evaluate(theta)
    return top_eigenpairs(evaluation.hessian, random_start(len(theta), count, theta), rtol, 1000)


def dense_pairs(matrix: Tensor, count: int) -> EigenPairs:
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    return EigenPairs(
        values, vectors, matrix @ vectors, torch.zeros(count), True, 1, count, values[-1].item()
    )


@pytest.mark.parametrize("eigenvalue", [-3.0, -1e-9, 0.0, 1e-12, 1e-6, 0.5, 40.0, 1e6])
@pytest.mark.parametrize("step_size", [1e-6, 0.01, 1.0])
def test_relaxation_equals_the_integral_it_stands_for(eigenvalue: float, step_size: float) -> None:
    # (1 − e^{−λη})/λ = ∫₀^η e^{−λs} ds, by Gauss–Legendre on 200 panels.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(0, step_size, 201)
    if eigenvalue * step_size > 200:  # all of the integral lies near 0
        edges = np.geomspace(1e-12, step_size, 201) - 1e-12
    middles, halves = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    times = middles[:, None] + halves[:, None] * nodes
    integral = (np.exp(-eigenvalue * times) * weights * halves[:, None]).sum()
    actual = relaxation(torch.tensor([eigenvalue], dtype=torch.float64), step_size).item()
    assert actual == pytest.approx(min(integral, step_size), rel=1e-9)


def test_step_size_is_bounded_by_the_next_eigenvalue() -> None:
    pairs = dense_pairs(torch.diag(torch.tensor([100.0, 50.0, 4.0])).double(), 3)
    assert stable_step_size(pairs, 1.0) == 0.25
    assert stable_step_size(pairs, 0.1) == 0.1
    flat = dense_pairs(torch.zeros(3, 3, dtype=torch.float64), 2)
    assert stable_step_size(flat, 0.1) == 0.1


@pytest.mark.parametrize("step_size", [0.01, 1.0, 50.0])
def test_exact_along_tracked_directions_of_a_quadratic_for_any_step(step_size: float) -> None:
    stream = torch.Generator().manual_seed(1)
    noise = torch.randn(12, 12, generator=stream, dtype=torch.float64)
    vectors = torch.linalg.qr(noise).Q
    eigenvalues = torch.tensor([90.0, 40, 7, 1.5, *[0.01] * 8], dtype=torch.float64)
    matrix = (vectors * eigenvalues) @ vectors.T
    theta = torch.randn(12, generator=stream, dtype=torch.float64)
    after = exponential_euler(theta, matrix @ theta, dense_pairs(matrix, 5), step_size)
    expected = torch.linalg.matrix_exp(-step_size * matrix) @ theta
    tracked = vectors[:, :4].T
    # η·g, up to 4,500 here, is added and taken away again: its round-off stays.
    torch.testing.assert_close(tracked @ after, tracked @ expected, rtol=0, atol=1e-11)
    untracked = vectors[:, 4:].T
    euler = untracked @ theta * (1 - step_size * 0.01)
    torch.testing.assert_close(untracked @ after, euler, rtol=0, atol=1e-11)


def test_error_at_fixed_flow_time_is_proportional_to_the_step_size() -> None:
    objective, theta = small_problem("cross_entropy")
    flow_time = 0.4

    def velocity(_: float, state: np.ndarray) -> np.ndarray:
        return -objective.evaluate(torch.from_numpy(state)).gradient.numpy()

    span = (0.0, flow_time)
    exact = solve_ivp(velocity, span, theta.numpy(), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    step_sizes = [flow_time / count for count in (10, 20, 40)]
    errors = []
    for step_size in step_sizes:
        state = theta
        for _ in range(round(flow_time / step_size)):
            pairs = pairs_of(objective, state, 5, rtol=1e-8)
            gradient = objective.evaluate(state).gradient
            state = exponential_euler(state, gradient, pairs, step_size)
        errors.append(np.linalg.norm(state.numpy() - exact))
    order = np.polyfit(np.log(step_sizes), np.log(errors), 1)[0]
    assert order == pytest.approx(1, abs=0.1)
    assert errors[-1] < 0.04 * np.linalg.norm(exact - theta.numpy())


def authors_solver(
    objective: MLPObjective, criterion: torch.nn.Module, theta: Tensor, step_size: float
) -> stable_solvers.ExponentialEulerSolver:
    layers: list[torch.nn.Module] = []
    sizes = objective.network.dimensions
    for into, out in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(into, out, dtype=torch.float64), torch.nn.ELU()]
    data = torch.utils.data.TensorDataset(objective.inputs, objective.targets)
    loss = stable_solvers.LossFunction(
        data, criterion, torch.nn.Sequential(*layers[:-1]), batch_size=len(data)
    )
    return stable_solvers.ExponentialEulerSolver(theta.clone(), loss, step_size, sizes[-1])


def test_agrees_step_by_step_with_the_authors_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, theta = small_problem("cross_entropy", seed=2)
    solver = authors_solver(objective, torch.nn.CrossEntropyLoss(), theta, 0.6)
    # Its eigenpairs stop at a change of 1e-4 in the eigenvalues; tightened, so that what is left
    # of a difference would be one of formulas.
    tight = functools.partial(stable_solvers.solvers.loss_hessian_eigenvector, tol=1e-13)

    def solve(*args: object, **options: object) -> object:
        return tight(*args, **{**options, "max_iters": 100_000})

    monkeypatch.setattr(stable_solvers.solvers, "loss_hessian_eigenvector", solve)
    solver.eigvecs = random_start(len(theta), 5, theta)
    state, step_sizes = theta, []
    for _ in range(12):
        evaluation = objective.evaluate(state)
        pairs = pairs_of(objective, state, 5)
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
