"""The exponential Rosenbrock method: exactness, order, the promise of its tolerance, its ends."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from problems import small_problem
from scipy.integrate import solve_ivp
from torch import Tensor
from walks import followed

from eosflow.networks.perceptron import MLP
from eosflow.objectives.base import Evaluation, Objective
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers import rosenbrock
from eosflow.optimizers.base import Optimizer, Step
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.optimizers.loop import LANDING, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock


class QuadraticPoint(Evaluation):
    """b·θ + Σ λ_i θ_i²/2, whose flow is known."""

    def __init__(self, objective: Objective, slope: Tensor, theta: Tensor) -> None:
        self.objective, values = objective, objective.values
        self.values, self.theta, self.accuracy = values, theta, 0.0
        self.gradient = values * theta + slope
        self.loss = (slope @ theta + values @ theta.square() / 2).item()

    def _add_product(self, matrix: str, rows: Tensor, result: Tensor) -> None:
        result.add_(self.values.to(rows) * rows)


class Quadratic(Objective):
    """𝓛 of `QuadraticPoint`."""

    def __init__(self, values: list[float]) -> None:
        self.values = torch.tensor(values, dtype=torch.float64)
        self.slope = torch.linspace(-1, 1, len(values), dtype=torch.float64)
        self.inputs, self.weight_decay = self.values[:, None], 0.0

    def evaluate(self, theta: Tensor) -> QuadraticPoint:
        return QuadraticPoint(self, self.slope, theta)

    def flow(self, theta: Tensor, time: float) -> Tensor:
        safe = torch.where(self.values == 0, 1.0, self.values)
        share = torch.where(self.values == 0, time, -torch.expm1(-time * safe) / safe)
        return theta - share * (self.values * theta + self.slope)

    per_example_grams = per_example_numbers = batch = None  # type: ignore[assignment]


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_one_step_is_exact_on_a_quadratic_of_any_curvature(size: float) -> None:
    objective = Quadratic([40.0, 3.0, 0.5, 0.0, -0.1, -0.4])
    optimizer = ExponentialRosenbrock(tolerance=1e-6)
    theta = torch.linspace(1, 2, 6, dtype=torch.float64)
    state = {**optimizer.init(objective, theta, 0), "step_size": size}
    step = optimizer.step(objective.evaluate(theta), state)
    assert step.step_size == size
    assert step.facts["rejected_steps"] == 0
    exact = objective.flow(theta, size)
    assert (step.theta - exact).norm() <= 1e-6 * (exact - theta).norm()
    assert step.state["step_size"] == rosenbrock.GROWTH * size


def test_at_a_critical_point_it_stays_where_it_is() -> None:
    objective = Quadratic([2.0, -1.0, 3.0])
    optimizer = ExponentialRosenbrock()
    theta = -objective.slope / objective.values
    step = optimizer.step(objective.evaluate(theta), {"step_size": 0.5})
    assert torch.equal(step.theta, theta)
    assert step.facts["power_iterations"] == 0
    assert optimizer.step(objective.evaluate(theta), {"step_size": 0.0}) is not None


class Turning(Quadratic):
    """A quadratic with a slope of its own beyond a distance from the start: a step there errs."""

    def evaluate(self, theta: Tensor) -> QuadraticPoint:
        evaluation = super().evaluate(theta)
        beyond = (theta - 1).square().sum() > 0.01
        evaluation.gradient = evaluation.gradient + (100.0 if beyond else 0.0)
        return evaluation


def test_a_hopeless_try_is_given_up_early_and_the_next_is_much_shorter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = Turning(np.geomspace(1e-3, 1e4, 60).tolist())
    optimizer, theta = ExponentialRosenbrock(), torch.ones(60, dtype=torch.float64)
    real, tries = ExponentialRosenbrock._try, []
    keep = lambda *given: tries.append(real(*given)) or tries[-1]  # noqa: E731
    monkeypatch.setattr(ExponentialRosenbrock, "_try", keep)
    optimizer.step(objective.evaluate(theta), {"step_size": 0.5})
    early, following, *_ = tries
    tries.clear()
    monkeypatch.setattr(rosenbrock, "HOPELESS", math.inf)
    optimizer.step(objective.evaluate(theta), {"step_size": 0.5})
    assert early.size == tries[0].size  # as long as the memory allows
    assert 4 * optimizer.bound < early.error <= tries[0].error
    assert early.products < tries[0].products
    assert following.size == pytest.approx(rosenbrock.RETREAT * early.size)


# ELU's second derivative jumps at 0, and in a network this small a single jump is felt.
PROBLEMS = {
    "cross-entropy": ("cross_entropy", "tanh"),
    "squared error": ("squared_error", "tanh"),
    "jumps": ("cross_entropy", "elu"),
}


@functools.cache
def problem(name: str) -> tuple[Objective, Tensor]:
    criterion, activation = PROBLEMS[name]
    small, theta = small_problem(criterion)
    network = MLP(small.network.dimensions, activation)
    return MLPObjective(network, criterion, small.inputs, small.targets), 1.5 * theta


@functools.cache
def exact(name: str, end: float) -> Tensor:
    objective, theta = problem(name)

    def velocity(_: float, state: np.ndarray) -> np.ndarray:
        return -objective.evaluate(torch.from_numpy(state)).gradient.numpy()

    solution = solve_ivp(velocity, (0, end), theta.numpy(), "DOP853", rtol=1e-10, atol=1e-12)
    return torch.from_numpy(solution.y[:, -1])


def run(
    optimizer: ExponentialRosenbrock, until: StopCriteria, name: str = "cross-entropy"
) -> tuple[TrainState, list[Step], str]:
    objective, theta = problem(name)
    state, seen, stopped = followed(objective, optimizer, theta, until)
    return state, [step for _, _, step in seen], stopped


def distance(train_state: TrainState, name: str, end: float) -> float:
    target, start = exact(name, end), problem(name)[1]
    return ((train_state.theta - target).norm() / (target - start).norm()).item()


@pytest.mark.parametrize("name", ["cross-entropy", "squared error"])
def test_it_is_of_third_order(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, theta = problem(name)
    # A tolerance that refuses nothing at these sizes, with Lanczos iterations to rounding.
    optimizer = ExponentialRosenbrock(tolerance=0.1)
    monkeypatch.setattr(rosenbrock, "KRYLOV_SHARE", 1e-10)
    monkeypatch.setattr(rosenbrock, "FLOAT32_TOLERANCE", 1.0)
    sizes, errors = [0.02, 0.01, 0.005], []
    for size in sizes:
        train_state = begin(objective, optimizer, FullBatch(), theta, 0)
        for _ in range(round(0.16 / size)):
            evaluation = objective.evaluate(train_state.theta)
            step = optimizer.step(evaluation, {"step_size": 1.0}, size)
            assert step is not None and step.step_size == size
            train_state.theta = step.theta
        errors.append(distance(train_state, name, 0.16))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert 2.7 < slope < 3.5, (slope, errors)


@pytest.mark.parametrize(
    ("name", "tolerance"), [*itertools.product(PROBLEMS, (1e-2, 1e-4)), ("cross-entropy", 1e-6)]
)
def test_the_run_is_as_near_to_the_flow_as_promised(name: str, tolerance: float) -> None:
    optimizer = ExponentialRosenbrock(tolerance=tolerance)
    train_state, steps, stopped = run(optimizer, StopCriteria(flow_time=1.0), name)
    assert stopped == "flow_time"
    assert train_state.flow_time == pytest.approx(1.0, rel=1e-12)
    assert 1e-3 * tolerance <= distance(train_state, name, 1.0) <= tolerance  # and no more work
    assert all(step.facts["error_estimate"] <= optimizer.bound for step in steps)
    left_out = rosenbrock.KRYLOV_SHARE * tolerance * 1.001
    assert all(step.facts["residual"] <= left_out for step in steps)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("share", [0.9, 0.1])
def test_the_target_loss_is_met_from_below(name: str, share: float) -> None:
    objective, theta = problem(name)
    goal = share * objective.evaluate(theta).loss
    train_state, steps, stopped = run(ExponentialRosenbrock(), StopCriteria(loss=goal), name)
    assert stopped == "target_loss"
    loss = objective.evaluate(train_state.theta).loss
    assert goal * (1 - LANDING) * (1 - 1e-9) <= loss <= goal
    assert train_state.flow_time == pytest.approx(sum(step.step_size for step in steps), rel=1e-12)


def test_the_first_step_lands_too() -> None:
    objective, theta = problem("cross-entropy")
    start = objective.evaluate(theta).loss
    first = run(ExponentialRosenbrock(), StopCriteria(iterations=1))[1][0]
    goal = (start + first.evaluation.loss) / 2
    train_state, steps, stopped = run(ExponentialRosenbrock(), StopCriteria(loss=goal))
    assert (stopped, len(steps)) == ("target_loss", 1)
    assert goal * (1 - LANDING) <= objective.evaluate(train_state.theta).loss <= goal
    # Longer tries before it changed nothing: the step alone, from a fresh evaluation, is the same.
    alone = {"step_size": 0.0}, steps[0].step_size
    step = ExponentialRosenbrock().step(objective.evaluate(theta), *alone)
    assert torch.equal(step.theta, steps[0].theta)


def test_where_memory_is_short_steps_are(monkeypatch: pytest.MonkeyPatch) -> None:
    until, name = StopCriteria(flow_time=1.0), "squared error"
    plenty = run(ExponentialRosenbrock(), until, name)[1]
    monkeypatch.setattr(rosenbrock, "FLOW_CAPACITY", 4)
    monkeypatch.setattr(rosenbrock, "FIRST_VECTORS", 2)
    train_state, steps, stopped = run(ExponentialRosenbrock(), until, name)
    assert stopped == "flow_time"
    assert len(steps) > len(plenty)
    assert distance(train_state, name, 1.0) <= 0.01


class Broken(Quadratic):
    """Products, losses beyond a distance, or gradients that are no numbers."""

    def __init__(self, part: str) -> None:
        super().__init__([3.0, 1.0])
        self.part = part

    def evaluate(self, theta: Tensor) -> QuadraticPoint:
        evaluation = super().evaluate(theta)
        start = bool((theta == 1).all())
        if self.part == "gradient":
            evaluation.gradient = evaluation.gradient * math.nan
        elif self.part == "products":
            evaluation.values = evaluation.values * math.nan
        elif self.part == "loss" and not start:
            evaluation.loss = math.nan
        elif self.part == "uphill" and not start:
            evaluation.loss = 1e9
        return evaluation


@pytest.mark.parametrize("part", ["gradient", "products", "loss", "uphill"])
def test_no_step_where_there_is_none_to_take(part: str) -> None:
    objective, theta = Broken(part), torch.ones(2, dtype=torch.float64)
    optimizer = ExponentialRosenbrock()
    evaluation = objective.evaluate(theta)
    for state in (optimizer.init(objective, theta, 0), {"step_size": 0.1}):
        assert optimizer.step(evaluation, state) is None


@pytest.mark.parametrize(
    "optimizer",
    [ExponentialEuler(), ExponentialRosenbrock(), ExponentialRosenbrock(tolerance=1e-5)],
)
def test_the_memory_that_a_step_keeps_is_asked_for(optimizer: Optimizer) -> None:
    objective, theta = small_problem("cross_entropy")
    begun = begin(objective, optimizer, FullBatch(), theta, 0)
    follow(objective, optimizer, FullBatch(), begun, StopCriteria(iterations=2), lambda *_: None)
    kept: list[Tensor] = []
    for name, memory in objective.__dict__["_scratch"].items():
        if name.startswith(("krylov", "eigenpairs")):
            inside = [memory] if name.startswith("krylov") else vars(memory).values()
            kept += [tensor for tensor in inside if isinstance(tensor, Tensor)]
    vectors = sum(tensor.numel() * tensor.element_size() for tensor in kept) / 8 / len(theta)
    classes = objective.network.outputs(theta, objective.inputs[:1]).shape[1]
    assert 0 < vectors < optimizer.vectors_held(classes) < 3 * vectors


def test_vectors_in_single_precision_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for tolerance in (1e-2, 1e-4):
        ends = []
        for least in (1e-5, 1.0):
            monkeypatch.setattr(rosenbrock, "FLOAT32_TOLERANCE", least)
            ends.append(
                run(ExponentialRosenbrock(tolerance=tolerance), StopCriteria(flow_time=1.0))[0]
            )
        moved = (ends[0].theta - problem("cross-entropy")[1]).norm()
        assert 0 < (ends[0].theta - ends[1].theta).norm() <= 0.02 * tolerance * moved
