"""Gradient optimizers: step for step as torch.optim, pure, and stable just where theory says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR, MultiStepLR

from eosflow.optimizers.base import Optimizer, Step
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.storage.errors import UserError

Function = Callable[[Tensor], Tensor]


class FunctionPoint:
    """What a step reads of an evaluation: a function of θ and its gradient."""

    def __init__(self, function: Function, theta: Tensor) -> None:
        variable = theta.clone().requires_grad_()
        value = function(variable)
        (self.gradient,) = torch.autograd.grad(value, variable)
        self.theta, self.loss = theta, value.item()


def rosenbrock(theta: Tensor) -> Tensor:
    """Curved, not quadratic, and with gradients from small to large."""
    bend = theta[1:] - theta[:-1].square()
    return (5 * bend.square() + (1 - theta[:-1]).square()).sum() / 10 + torch.cos(theta).sum() / 7


def quadratic(theta: Tensor) -> Tensor:
    """Eigenvalues 20 and 1."""
    return (20 * theta[0] ** 2 + theta[1] ** 2) / 2


def path(optimizer: Optimizer, function: Function, theta: Tensor, steps: int) -> list[Step]:
    taken: list[Step] = []
    state = optimizer.init(None, theta, 0)
    while len(taken) < steps and (step := optimizer.step(FunctionPoint(function, theta), state)):
        taken.append(step)
        theta, state = step.theta, step.state
    return taken


def start() -> Tensor:
    return torch.randn(6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


SGD, ADAM = torch.optim.SGD, torch.optim.Adam
NESTEROV = {"momentum": 0.8, "nesterov": True}
OTHER = {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}
ALL = {"alpha": 0.9, "momentum": 0.7, "centered": True}
Pair = tuple[type[GradientOptimizer], dict[str, Any], Any, dict[str, Any]]
# Ours, torch's, torch's settings.
PAIRS: dict[str, Pair] = {
    "plain": (GradientDescent, {}, SGD, {}),
    "polyak": (GradientDescent, {"momentum": 0.9}, SGD, {"momentum": 0.9}),
    "nesterov": (GradientDescent, NESTEROV, SGD, NESTEROV),
    "adam": (Adam, {}, ADAM, {}),
    "adam-other": (Adam, OTHER, ADAM, {"betas": (0.5, 0.9), "eps": 1e-3}),
    "adamw": (Adam, {"decoupled_weight_decay": True}, torch.optim.AdamW, {"weight_decay": 0.0}),
    "rmsprop": (RMSprop, {}, torch.optim.RMSprop, {}),
    "rmsprop-all": (RMSprop, ALL | {"epsilon": 1e-4}, torch.optim.RMSprop, ALL | {"eps": 1e-4}),
}
SHARED: dict[str, dict[str, Any]] = {
    "alone": {},
    "clip": {"clip_norm": 0.5, "weight_decay": 0.05},
    "schedule": {
        "weight_decay": 0.05, "warmup_steps": 10, "drop_at": (20, 45), "drop_factor": 0.3,
        "cosine_steps": 60,
    },
}  # fmt: skip


@pytest.mark.parametrize("shared", SHARED.values(), ids=SHARED.keys())
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_every_step_equals_that_of_torch(pair: Pair, shared: dict[str, Any]) -> None:
    plugin, settings, theirs, their_settings = pair
    variable = start().requires_grad_()
    decay = {"weight_decay": shared["weight_decay"]} if "weight_decay" in shared else {}
    oracle = theirs([variable], lr=0.02, **{**their_settings, **decay})
    schedules: list[Any] = []
    if warmup := shared.get("warmup_steps"):
        schedules += [LinearLR(oracle, start_factor=1 / warmup, total_iters=warmup - 1)]
        schedules += [MultiStepLR(oracle, list(shared["drop_at"]), gamma=shared["drop_factor"])]
        schedules += [CosineAnnealingLR(oracle, shared["cosine_steps"])]
    schedule = ChainedScheduler(schedules) if schedules else None

    steps = path(plugin(learning_rate=0.02, **settings, **shared), rosenbrock, start(), 60)
    assert len(steps) == 60
    clipped = 0
    for step in steps:
        oracle.zero_grad()
        rosenbrock(variable).backward()
        limit = shared.get("clip_norm", float("inf"))
        norm = torch.nn.utils.clip_grad_norm_([variable], limit).item()
        clipped += norm > limit
        expected_rate = oracle.param_groups[0]["lr"]
        oracle.step()
        if schedule:
            schedule.step()
        assert step.step_size == pytest.approx(expected_rate, rel=1e-12)
        assert step.facts["learning_rate"] == step.step_size
        assert step.facts["gradient_norm"] == pytest.approx(norm, rel=1e-12)
        torch.testing.assert_close(step.theta, variable.detach(), rtol=1e-12, atol=1e-13)
    if "clip_norm" in shared:
        assert clipped > 0


def test_learning_rate_stays_zero_after_the_cosine() -> None:
    rates = [GradientDescent(learning_rate=0.1, cosine_steps=10).rate(t) for t in range(25)]
    assert rates[9] > 0 and rates[10:] == [0.0] * 15


def test_no_step_from_where_theta_stops_being_finite() -> None:
    optimizer = GradientDescent(learning_rate=1.0)
    theta = torch.tensor([1e-3, 1.0], dtype=torch.float64)
    steps = path(optimizer, quadratic, theta, 1000)
    assert 100 < len(steps) < 1000
    assert all(step.theta.isfinite().all() for step in steps)
    for clip in (0.0, 5.0):
        optimizer = GradientDescent(learning_rate=1.0, clip_norm=clip)
        for bad in (float("nan"), float("inf")):
            assert not path(optimizer, quadratic, torch.tensor([1.0, bad]), 1)


def test_a_centered_variance_that_rounding_makes_negative_is_zero() -> None:
    optimizer = RMSprop(learning_rate=1e-9, centered=True, alpha=0.5, epsilon=1e-3)
    slope = torch.linspace(0.1, 0.9, 50, dtype=torch.float64)
    assert len(path(optimizer, lambda theta: slope @ theta, torch.zeros_like(slope), 200)) == 200


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(UserError, match="momentum is 0"):
        GradientDescent(learning_rate=0.1, nesterov=True)


@pytest.mark.parametrize("share", [0.995, 1.005])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (GradientDescent, {}),
        (GradientDescent, {"momentum": 0.6}),
        (GradientDescent, {"momentum": 0.6, "nesterov": True}),
        (GradientDescent, {"momentum": 0.6, "weight_decay": 3.0}),
        (Adam, {"beta2": 0.9999, "epsilon": 0.5}),
        (Adam, {"beta1": 0.5, "beta2": 0.9999, "epsilon": 0.5, "weight_decay": 3.0}),
        (RMSprop, {"alpha": 0.9999, "epsilon": 0.5}),
        (RMSprop, {"alpha": 0.9999, "epsilon": 0.5, "momentum": 0.6}),
    ],
)
def test_the_edge_is_where_a_quadratic_turns_unstable(
    kind: type[GradientOptimizer], settings: dict[str, Any], share: float
) -> None:
    """The gradients are so small beside ε that P is ε times the identity."""
    optimizer = kind(learning_rate=1.0, **settings)
    curvature = 20 + optimizer.weight_decay
    divisor = getattr(optimizer, "epsilon", 1.0)
    rate = share * optimizer.edge() * divisor / curvature
    theta = torch.tensor([1e-100, 0.0], dtype=torch.float64)
    steps = path(optimizer.model_copy(update={"learning_rate": rate}), quadratic, theta, 400)
    evaluation = FunctionPoint(quadratic, theta)
    p = optimizer.preconditioner(evaluation, optimizer.init(None, theta, 0))
    assert p.tolist() == pytest.approx([divisor] * 2, rel=1e-6)
    early, late = (
        max(step.theta[0].abs().item() for step in steps[k : k + 20]) for k in (150, 380)
    )
    assert (late > early) == (share > 1)


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("name", ["adam", "adam-other", "adamw", "rmsprop", "rmsprop-all"])
def test_the_preconditioner_is_what_torch_divides_by(name: str, clip: float) -> None:
    plugin, settings, theirs, their_settings = PAIRS[name]
    decay = 0.05
    optimizer = plugin(learning_rate=0.02, weight_decay=decay, clip_norm=clip, **settings)
    variable = start().requires_grad_()
    oracle = theirs([variable], lr=0.02, **{**their_settings, "weight_decay": decay})
    theta, state = start(), optimizer.init(None, start(), 0)
    for count in range(1, 8):
        evaluation = FunctionPoint(rosenbrock, theta)
        found = optimizer.preconditioner(evaluation, state)
        oracle.zero_grad()
        rosenbrock(variable).backward()
        torch.nn.utils.clip_grad_norm_([variable], clip or float("inf"))
        oracle.step()
        kept, group = oracle.state[variable], oracle.param_groups[0]
        if "exp_avg_sq" in kept:
            square = kept["exp_avg_sq"] / (1 - group["betas"][1] ** count)
        else:
            square = kept["square_avg"]
            if group["centered"]:
                square = square - kept["grad_avg"] ** 2
        torch.testing.assert_close(found, square.sqrt() + group["eps"], rtol=1e-10, atol=1e-14)
        theta, state = (step := optimizer.step(evaluation, state)).theta, step.state
