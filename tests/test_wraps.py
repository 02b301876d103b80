"""Rules around the gradient: the named optimizers are made of them, and any optimizer takes any."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from problems import small_problem
from torch import Tensor
from walks import steps_of as walk

import eosflow
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.base import Step
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.penalties import diagonal_fisher, penalty_gradient, trace_and_gradient
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.optimizers.sharpness import SAM, AdamSAM, AdamTracer, SGDTracer, TracePenalty
from eosflow.optimizers.wraps import WRAPS, Momentum, SharpnessAware, TraceOfHessian, Tracer
from eosflow.spectra.density import probes
from eosflow.spectra.randomness import generator
from eosflow.storage.columns import types_of
from eosflow.storage.settings import from_record, key_fields, record

GRADIENT = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, GradientOptimizer)]
OBJECTIVE, START = small_problem("cross_entropy")
SAM_RULE = SharpnessAware(rho=0.1)
TRACER_RULE = Tracer(rho=0.2, fisher_rate=0.3)
RATE = {"learning_rate": 0.05}
MORE = {**RATE, "momentum": 0.9, "weight_decay": 0.1, "clip_norm": 0.5}


def steps_of(optimizer: GradientOptimizer, steps: int = 6) -> list[Step]:
    return walk(OBJECTIVE, optimizer, START, steps)


def thetas(steps: list[Step]) -> Tensor:
    return torch.stack([step.theta for step in steps])


@pytest.mark.parametrize(
    ("named", "wrapped"),
    [
        (SAM(**MORE, rho=0.1), GradientDescent(**MORE, wrap=(SAM_RULE,))),
        (AdamSAM(**RATE, rho=0.1), Adam(**RATE, wrap=(SAM_RULE,))),
        (SGDTracer(**RATE, rho=0.2, fisher_rate=0.3), GradientDescent(**RATE, wrap=(TRACER_RULE,))),
        (AdamTracer(**RATE, rho=0.2, fisher_rate=0.3), Adam(**RATE, wrap=(TRACER_RULE,))),
        (
            TracePenalty(**RATE, rho=0.01, probes=2),
            GradientDescent(**RATE, wrap=(TraceOfHessian(rho=0.01, probes=2),)),
        ),
        (
            TracePenalty(**RATE, rho=0.01, wrap=(SAM_RULE,)),
            GradientDescent(**RATE, wrap=(TraceOfHessian(rho=0.01), SAM_RULE)),
        ),
        (GradientDescent(**RATE, momentum=0.9), GradientDescent(**RATE, wrap=(Momentum(mu=0.9),))),
    ],
    ids=lambda each: each.name,
)
def test_a_named_optimizer_is_another_with_a_wrap(
    named: GradientOptimizer, wrapped: GradientOptimizer
) -> None:
    ours, theirs = steps_of(named), steps_of(wrapped)
    assert torch.equal(thetas(ours), thetas(theirs))
    assert [step.facts for step in ours] == [step.facts for step in theirs]


def by_torch(gradient: Callable[[Tensor], Tensor], steps: int = 6) -> Tensor:
    """The path of torch.optim.RMSprop on a gradient of ours."""
    theta = START.clone().requires_grad_()
    optimizer = torch.optim.RMSprop([theta], lr=0.05)
    found = []
    for _ in range(steps):
        theta.grad = gradient(theta.detach())
        optimizer.step()
        found.append(theta.detach().clone())
    return torch.stack(found)


def slope(theta: Tensor) -> Tensor:
    return OBJECTIVE.evaluate(theta).gradient.clone()


def test_sam_around_rmsprop_is_that_of_torch_on_the_gradient_ahead() -> None:
    def ahead(theta: Tensor) -> Tensor:
        gradient = slope(theta)
        return slope(theta + 0.1 * gradient / (gradient.norm() + 1e-12))

    ours = thetas(steps_of(RMSprop(**RATE, wrap=(SAM_RULE,))))
    torch.testing.assert_close(ours, by_torch(ahead), rtol=1e-10, atol=1e-12)


def test_tracer_around_rmsprop_is_that_of_torch_on_the_penalised_gradient() -> None:
    mean: list[Tensor] = []

    def penalised(theta: Tensor) -> Tensor:
        fisher = diagonal_fisher(OBJECTIVE, theta)
        mean.append(0.7 * mean[-1] + 0.3 * fisher if mean else fisher)
        return slope(theta) + 0.2 * penalty_gradient(OBJECTIVE, theta, 1 / (mean[-1] + 0.001))

    ours = thetas(steps_of(RMSprop(**RATE, wrap=(TRACER_RULE,))))
    torch.testing.assert_close(ours, by_torch(penalised), rtol=1e-9, atol=1e-11)


def test_sam_around_a_penalty_sees_the_penalised_gradient_at_both_points() -> None:
    penalty = TraceOfHessian(rho=0.05, probes=1)
    optimizer = GradientDescent(**RATE, wrap=(penalty, SAM_RULE))
    step = steps_of(optimizer, 1)[0]

    def penalised(theta: Tensor) -> Tensor:
        signs = probes(len(theta), 1, theta, generator(0, "trace probes 0"))
        return slope(theta) + 0.05 * trace_and_gradient(OBJECTIVE, theta, signs)[1]

    first = penalised(START)
    ahead = penalised(START + 0.1 * first / first.norm())
    torch.testing.assert_close(step.theta, START - 0.05 * ahead, rtol=1e-10, atol=1e-12)


def test_decoupled_weight_decay_shrinks_the_weights_of_any_optimizer() -> None:
    decay = {"weight_decay": 0.3, "decoupled_weight_decay": True}
    step = steps_of(GradientDescent(**RATE, **decay), 1)[0]
    torch.testing.assert_close(step.theta, START * (1 - 0.05 * 0.3) - 0.05 * slope(START))


@pytest.mark.registry
@pytest.mark.parametrize("rule", WRAPS)
@pytest.mark.parametrize("name", GRADIENT)
def test_any_wrap_goes_around_any_optimizer(name: str, rule: str) -> None:
    base, wrap = OPTIMIZERS[name].example(), WRAPS[rule].example()
    if rule in [own.name for own in base.wraps]:
        return
    optimizer = base.model_copy(update={"wrap": (wrap,)})
    assert optimizer.gradients_per_step() >= base.gradients_per_step()
    assert from_record(OPTIMIZERS, record(optimizer)) == optimizer
    assert from_record(OPTIMIZERS, key_fields(optimizer)) == optimizer
    for step in steps_of(optimizer, 2):
        assert step.facts.keys() == types_of(optimizer.columns(len(START), 4)).keys()
        assert step.theta.isfinite().all()


def test_a_rule_that_there_is_not_or_twice_is_refused() -> None:
    twice = "no rule may occur twice"
    for wrap, words in (
        ([{"name": "sma", "rho": 1}], r"wrap.0: .* a name of momentum, sam, tracer"),
        ([{"name": "sam", "rho": -1}], r"wrap\.0\.rho: -1 was given; .* equal to 0"),
        ((SAM_RULE, SAM_RULE), twice),
    ):
        with pytest.raises(eosflow.UserError, match=words):
            GradientDescent(**RATE, wrap=wrap)
    with pytest.raises(eosflow.UserError, match=twice):
        SAM(**RATE, rho=0.1, wrap=(SAM_RULE,))
