"""What every optimizer promises: pure steps, a state that is all there is, facts as its columns."""

from __future__ import annotations

import json

import pytest
import torch
from problems import small_problem
from torch import Tensor
from walks import copied, restored, same, walked

from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import FullBatch, Shuffled
from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.optimizers.sharpness import SWA, SharpestNoise, TracePenalty
from eosflow.optimizers.subspace import NudgedSGD
from eosflow.storage.columns import types_of
from eosflow.storage.settings import from_record, record

RATE = {"learning_rate": 0.05}
# Every optimizer by its example, and settings that keep more in the state.
CASES: list[Optimizer] = [
    *(
        kind.example().model_copy(update={"learning_rate": 0.02} if "central" in name else {})
        for name, kind in OPTIMIZERS.items()
    ),
    GradientDescent(**RATE, momentum=0.9, weight_decay=0.1, clip_norm=0.5),
    GradientDescent(**RATE, momentum=0.9, nesterov=True, warmup_steps=20),
    Adam(**RATE, weight_decay=0.1, decoupled_weight_decay=True, drop_at=(3, 12)),
    RMSprop(**RATE, momentum=0.5, centered=True, cosine_steps=30),
    NudgedSGD(**RATE, gamma=0.1, momentum=0.5, k=3, every=4),
    NudgedSGD(**RATE, k=2, examples=8, every=2, sample="fresh", which="magnitude"),
    SWA(**RATE, average_after=3, momentum=0.5),
    TracePenalty(**RATE, rho=0.01, probes=2, momentum=0.5),
    SharpestNoise(**RATE, noise=0.05, every=4, momentum=0.5),
    ExponentialRosenbrock(tolerance=1e-5),
]
each = pytest.mark.parametrize("optimizer", CASES, ids=lambda item: item.describe())


def batches_of(optimizer: Optimizer) -> FullBatch | Shuffled:
    return FullBatch() if optimizer.follows_flow else Shuffled(size=5)


@pytest.mark.registry
@each
def test_a_step_changes_nothing_and_repeats_to_the_last_bit(optimizer: Optimizer) -> None:
    objective, theta = small_problem("cross_entropy")
    for before in walked(objective, optimizer, theta, 5, batches_of(optimizer))[0]:
        evaluation, state = objective.evaluate(before.theta), before.optimizer
        kept = before.theta.clone(), evaluation.gradient.clone(), copied(state)
        first = optimizer.step(evaluation, state)
        optimizer.step(evaluation, state, first.step_size / 10)
        again = optimizer.step(evaluation, state)
        fresh = optimizer.step(objective.evaluate(before.theta), state)
        for step in (again, fresh):
            assert torch.equal(step.theta, first.theta) and same(step.state, first.state)
        assert fresh.facts == first.facts and fresh.step_size == first.step_size
        assert torch.equal(before.theta, kept[0]) and torch.equal(evaluation.gradient, kept[1])
        assert same(state, kept[2])
        assert first.facts.keys() == types_of(optimizer.columns(len(theta), 4)).keys()
        # What the step returns outlives the gradient, whose memory the next one may take over.
        returned = [first.theta, *(v for v in first.state.values() if isinstance(v, Tensor))]
        assert evaluation.gradient.data_ptr() not in {tensor.data_ptr() for tensor in returned}


@pytest.mark.registry
@each
def test_a_stored_state_goes_on_to_the_same_bits(optimizer: Optimizer) -> None:
    objective, theta = small_problem("cross_entropy")
    batches = batches_of(optimizer)
    whole, _ = walked(objective, optimizer, theta, 9, batches)
    fresh, _ = small_problem("cross_entropy")
    rest, _ = walked(fresh, optimizer, theta, 9, batches, restored(whole[5]))
    assert torch.equal(rest[-1].theta, whole[-1].theta)
    assert same(rest[-1].optimizer, whole[-1].optimizer)
    assert from_record(OPTIMIZERS, json.loads(json.dumps(record(optimizer)))) == optimizer


@pytest.mark.registry
@pytest.mark.parametrize(
    "optimizer", [c for c in CASES if isinstance(c, GradientOptimizer)], ids=lambda c: c.describe()
)
def test_single_precision_stays_single(optimizer: GradientOptimizer) -> None:
    double, theta = small_problem("cross_entropy")
    objective = type(double)(double.network, "cross_entropy", double.inputs.float(), double.targets)
    state = walked(objective, optimizer, theta.float(), 3)[0][-1]
    tensors = {**state.optimizer, "eigenvalues": 0, "theta": state.theta}.values()
    assert {each.dtype for each in tensors if isinstance(each, Tensor)} == {torch.float32}
