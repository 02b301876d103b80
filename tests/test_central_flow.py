"""Central flows: third derivatives by differences, flows that are known, dense matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from problems import network_problem, small_problem
from torch import Tensor, nn
from torch.func import grad, hessian
from walks import followed, restored, same, walked

import eosflow
from eosflow.networks import NETWORKS
from eosflow.networks.activations import ACTIVATIONS
from eosflow.networks.perceptron import MLP
from eosflow.objectives.base import Objective
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.objectives.third_derivatives import CurvatureGraph, pairs
from eosflow.optimizers import OPTIMIZERS, edge_flow
from eosflow.optimizers.base import Step
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.central_flow import (
    CentralFlow,
    CentralFlowRMSprop,
    CentralFlowScalarRMSprop,
)
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import StopCriteria, TrainState, begin
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.storage.errors import UserError
from eosflow.studies.testbeds import cheb, dense


def assert_third(objective: Objective, theta: Tensor) -> None:
    """∇(u_iᵀ𝓗u_j) and 𝓗v against products of the objective and their central differences."""
    stream = torch.Generator().manual_seed(1)
    block = torch.randn(2, len(theta), generator=stream, dtype=torch.float64).T
    evaluation = objective.evaluate(theta)
    graph = CurvatureGraph(evaluation)
    exact = evaluation.hessian(block)
    torch.testing.assert_close(graph.hessian(block, torch.empty_like(block)), exact)
    found = graph.third(block)
    assert pairs(2) == [(0, 0), (0, 1), (1, 1)]
    way = torch.randn(len(theta), generator=stream, dtype=torch.float64)

    def slopes(step: float) -> list[float]:
        ends = [objective.evaluate(theta + s * step * way).hessian(block) for s in (1, -1)]
        slope = block.T @ (ends[0] - ends[1]) / (2 * step)
        return [slope[i, j].item() for i, j in pairs(2)]

    # A step may go across the kink of a ReLU: then a shorter one tells.
    tries = [slopes(step) for step in (1e-5, 1e-7, 1e-9)]
    expected = pytest.approx((found @ way).tolist(), rel=1e-3, abs=1e-6)
    assert any(tried == expected for tried in tries), (tries, expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("criterion", ["cross_entropy", "squared_error"])
def test_third_derivatives_of_an_mlp(activation: str, criterion: str) -> None:
    given, _ = small_problem(criterion)
    network = MLP((5, 6, 4), activation)
    objective = MLPObjective(network, criterion, given.inputs, given.targets)
    noise = torch.randn(network.parameters, generator=torch.Generator().manual_seed(0)).double()
    assert_third(objective, network.initialize(0) + 0.1 * noise)


@pytest.mark.registry
@pytest.mark.parametrize("name", NETWORKS)
def test_third_derivatives_of_every_network(name: str) -> None:
    assert_third(*network_problem(name))


def test_third_derivatives_in_chunks_and_with_a_loss_of_ones_own() -> None:
    whole = cheb()
    theta, parts = whole.network.initialize(0).to(whole.inputs), (whole.inputs, whole.targets)
    small = ModuleObjective(whole.network, "half_squared_error", *parts, 20000)
    assert len(list(small.chunks(theta, 2))) > 1
    assert_third(small, theta)
    assert_third(
        ModuleObjective(whole.network, "half_squared_error", *parts, weight_decay=3), theta
    )
    own, start = cubic(0.3, 1.0)
    assert_third(own, start + 0.1)


class Product(nn.Module):
    """(x_1y, …, x_ky, y) for one row of inputs."""

    def __init__(self, x: list[float], y: float) -> None:
        super().__init__()
        self.x, self.y = nn.Parameter(torch.tensor(x)), nn.Parameter(torch.tensor([y]))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.x * self.y, self.y]).expand(len(inputs), -1) + 0 * inputs


def cubic(v: float, y: float, x: tuple[float, ...] = (0.0,)) -> tuple[Objective, Tensor]:
    """𝓛 = 1 + ½‖x‖²y² − vy, a quartic whose curvature along x is y², which its own slope raises.

    At x = 0 the flow is dy/dt = v. Gradient descent has a cycle of two at the edge: y² = 2/η, and
    −x ← x with x² = v/y. The central flow: y grows by v to √(2/η) and stays there, with
    variance v/y along x: T = ∇(eₓᵀ𝓗eₓ) = 2y e_y, so dy/dt = v − ½X·2y.
    """

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return (1 + outputs[:, :-1].square().sum(1) / 2 - v * outputs[:, -1]).mean()

    inputs = torch.zeros(1, len(x) + 1)
    problem = eosflow.Problem(Product(list(x), y), loss, (inputs, torch.zeros(1)))
    return problem.objective, problem.theta


def test_on_a_quartic_it_rests_where_descent_has_its_cycle() -> None:
    v, eta, start = 0.05, 0.5, 1.2
    objective, theta = cubic(v, start)
    optimizer = CentralFlow(learning_rate=eta)
    arrival = (math.sqrt(2 / eta) - start) / v
    state, seen, _ = followed(objective, optimizer, theta, StopCriteria(flow_time=2 * arrival))
    y, edge = math.sqrt(2 / eta), 2 / eta
    for time, at, step in seen:
        assert at[1].item() == pytest.approx(min(start + v * time, y), abs=1e-4)
        if time > arrival + 2 * eta:
            norm, loss = math.sqrt(v**2 + edge**2 * v / y), 1 - v * y + edge * v / y / 2
            expected = {"rank": 1, "variance_1": v / y, "variance": v / y, "predicted_loss": loss}
            expected |= {"predicted_gradient_norm": norm, "slack": 0}
            found = {name: step.facts[name] for name in expected}
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert abs(state.theta[0].item()) < 1e-12
    # Gradient descent has a cycle there, whose mean square is the variance predicted.
    theta = torch.tensor([math.sqrt(v / y), y], dtype=torch.float64)
    _, steps, _ = followed(
        objective, GradientDescent(learning_rate=eta), theta, StopCriteria(iterations=9)
    )
    signs = torch.tensor([[(-1.0) ** n, 1.0] for n in range(9)], dtype=torch.float64)
    torch.testing.assert_close(torch.stack([at for _, at, _ in steps]), signs * theta)
    mean = np.mean([objective.evaluate(at).loss for _, at, _ in steps])
    assert seen[-1][2].facts["predicted_loss"] == pytest.approx(mean)


def test_two_directions_at_once_share_what_holds_them() -> None:
    objective, theta = cubic(0.05, 1.9, (0.0, 0.0))
    until = StopCriteria(flow_time=6.0)
    state, seen, _ = followed(objective, CentralFlow(learning_rate=0.5), theta, until)
    assert state.theta[2].item() == pytest.approx(2.0, abs=1e-4)
    assert seen[-1][2].facts["variance"] == pytest.approx(0.05 / 2, rel=1e-4)
    assert seen[-1][2].facts["complementarity_residual"] < 1e-6


def test_below_the_edge_it_is_the_gradient_flow() -> None:
    objective = cheb()
    theta = objective.network.initialize(0).to(objective.inputs)
    until = StopCriteria(flow_time=40.0)
    state, seen, _ = followed(objective, CentralFlow(learning_rate=0.1), theta, until)
    exact, _, _ = followed(objective, ExponentialRosenbrock(tolerance=1e-5), theta, until)
    gone = (exact.theta - theta).norm()
    assert (state.theta - exact.theta).norm() <= 1e-3 * gone
    assert len(seen) < 40  # of which gradient descent takes 400
    assert all(step.facts["rank"] == 0 for _, _, step in seen)
    assert all(step.facts["predicted_loss"] == objective.evaluate(at).loss for _, at, step in seen)


Edged = tuple[Objective, list[tuple[float, Tensor, Step]], TrainState]


@pytest.fixture(scope="module")
def at_edge() -> Edged:
    """cheb-4 at η = 0.4: through the edge at flow time 288 and on to 320."""
    objective = cheb()
    theta = objective.network.initialize(0).to(objective.inputs)
    until = StopCriteria(flow_time=320.0)
    state, seen, _ = followed(objective, CentralFlow(learning_rate=0.4), theta, until)
    return objective, seen, state


def test_it_never_passes_the_edge_by_more_than_it_says(at_edge: Edged) -> None:
    objective, seen, _ = at_edge
    assert seen[-1][2].facts["rank"] >= 1
    for _, theta, step in seen[:: max(1, len(seen) // 20)]:
        whole = dense(objective.evaluate(theta), "hessian")
        sharpness = torch.linalg.eigvalsh(whole)[-1].item()
        assert step.facts["sharpness"] == pytest.approx(sharpness, rel=1e-5)
        assert sharpness <= 5 - step.facts["slack"] + 1e-4
        assert step.facts["slack"] >= -1e-4
    assert max(step.facts["complementarity_residual"] for _, _, step in seen) < 1e-9
    assert all(step.facts["residual"] <= 1e-3 for _, _, step in seen)


def test_shorter_steps_go_to_the_same_place(at_edge: Edged) -> None:
    objective, seen, end = at_edge
    number = next(n for n, (_, _, step) in enumerate(seen) if step.facts["rank"]) + 5
    time, theta, _ = seen[number]
    until = StopCriteria(flow_time=end.flow_time - time)
    errors = []
    for substeps in (1, 2, 4):
        # A new search at the edge itself, where λ₁ may lie beyond it by a rounding.
        state, _, _ = followed(
            objective, Restart(learning_rate=0.4, substeps=substeps), theta, until
        )
        errors.append(state.theta)
    first, second = ((errors[i] - errors[2]).norm().item() for i in (0, 1))
    assert second < 0.6 * first < 1e-3 * (end.theta - theta).norm().item() * 20


class Restart(CentralFlow):
    """From a point of the central flow."""

    def init(self, objective: Objective, theta: Tensor, seed: int) -> dict[str, Any]:
        state = edge_flow.EdgeFlow.init(self, objective, theta, seed)
        return {**state, "at_edge": True, "step_size": 1.0}


def dense_rmsprop(
    objective: Objective, theta: Tensor, eta: float, beta: float, scalar: bool, steps: int
) -> tuple[Tensor, Tensor, list[float]]:
    """θ, ν and the sharpness at each eighth of a step: C4 by plain Euler steps, for one direction.

    Dense 𝓗, generalized eigenvectors by LAPACK, third derivatives by torch.func, the force by the
    closed form for k = 1 from the derivative of 2uᵀPu − uᵀ𝓗u. Time counts steps.
    """
    network, criterion = objective.network, objective.criterion

    def loss(parameters: Tensor) -> Tensor:
        outputs = network.outputs(parameters, objective.inputs)
        return criterion.value(outputs, objective.targets).mean()

    gradient = grad(loss)(theta)
    nu = gradient.square().sum().expand(len(theta)) if scalar else gradient.square()
    dt, sharpness = 1 / 8, []
    for _ in range(8 * steps):
        gradient, matrix = grad(loss)(theta), hessian(loss)(theta)
        p = (nu.sqrt() + 1e-8) / eta
        values, vectors = scipy.linalg.eigh(matrix.numpy(), np.diag(p.numpy()))
        u, value = torch.from_numpy(vectors[:, -1].copy()), float(values[-1])
        assert values[-2] < 1.8
        sharpness.append(value)
        t = grad(lambda a, u=u: u @ torch.func.jvp(grad(loss), (a,), (u,))[1])(theta)
        image = matrix @ u
        rate, slope = (1 - beta) / beta, 1 / (2 * eta * nu.sqrt())
        alone = rate * (gradient.square().sum() - nu if scalar else gradient.square() - nu)
        more = rate * (image @ image if scalar else image.square())
        drift = 2 * (u.square() * slope * alone).sum() + t @ (gradient / p)
        gain = 2 * (u.square() * slope * more).sum() + t @ (t / p) / 2
        x = max(0.0, -(2 - value + dt * drift.item()) / (dt * gain.item()))
        theta = theta - dt * (gradient + x * t / 2) / p
        nu = nu + dt * (alone + x * more)
    return theta, nu, sharpness


@pytest.mark.parametrize("scalar", [False, True])
def test_the_flow_of_rmsprop_is_that_of_dense_matrices(scalar: bool) -> None:
    objective = cheb()
    start = objective.network.initialize(0).to(objective.inputs)
    eta, beta, steps = (0.2, 0.9, 8) if scalar else (5e-4, 0.9, 8)
    kind = CentralFlowScalarRMSprop if scalar else CentralFlowRMSprop
    optimizer = kind(learning_rate=eta, beta2=beta, substeps=8)
    until = StopCriteria(iterations=8 * steps)
    state, seen, _ = followed(objective, optimizer, start, until)
    assert any(step.facts["rank"] == 1 for _, _, step in seen)
    theta, nu, sharpness = dense_rmsprop(objective, start, eta, beta, scalar, steps)
    gone = (theta - start).norm()
    assert (state.theta - theta).norm() <= 0.02 * gone
    mean = state.optimizer["square_mean"]
    assert isinstance(mean, Tensor)
    torch.testing.assert_close(mean.expand(len(nu)), nu, rtol=0.05, atol=1e-9)
    ours = [step.facts["sharpness"] * eta for _, _, step in seen]
    np.testing.assert_allclose(ours[8:], sharpness[8:], rtol=0.01)


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n.startswith("central-flow")])
def test_a_stored_state_goes_on_to_the_same_bits(name: str) -> None:
    objective, theta = cubic(0.05, 1.7, (1e-3,))
    optimizer = OPTIMIZERS[name](learning_rate={"central-flow": 0.5}.get(name, 0.05))
    whole, _ = walked(objective, optimizer, theta, 30)
    for middle in (2, 15, 25):
        fresh, _ = cubic(0.05, 1.7, (1e-3,))
        rest, _ = walked(fresh, optimizer, theta, 30, train_state=restored(whole[middle]))
        assert torch.equal(rest[-1].theta, whole[-1].theta)
        assert same(rest[-1].optimizer, whole[-1].optimizer)


def test_it_lands_on_a_target_loss() -> None:
    objective, theta = cubic(0.05, 1.7)
    for goal in (0.91, 0.901):  # 1 − vy, at y = 1.8 below the edge and at 1.98 near it
        until = StopCriteria(loss=goal, iterations=60)
        end, _, reason = followed(objective, CentralFlow(learning_rate=0.5), theta, until)
        assert reason == "target_loss"
        assert 0.999 * goal <= objective.evaluate(end.theta).loss <= goal


def test_a_start_beyond_the_edge_and_more_directions_than_are_followed_are_refused() -> None:
    objective, theta = cubic(0.05, 3.0)  # λ₁ = 9
    with pytest.raises(UserError, match=r"sharpness at the start is 9.*below 0\.2222"):
        begin(objective, CentralFlow(learning_rate=0.5), FullBatch(), theta, 0)
    begin(objective, CentralFlow(learning_rate=0.222), FullBatch(), theta, 0)
    objective, theta = cubic(0.05, 1.99, (0.0,) * (edge_flow.MOST_DIRECTIONS + 1))
    with pytest.raises(UserError, match="smaller learning_rate"):
        followed(objective, CentralFlow(learning_rate=0.5), theta, StopCriteria(iterations=3))
