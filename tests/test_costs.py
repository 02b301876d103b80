"""What planning expects of a network: its parameters exactly, its operations on the safe side."""

from __future__ import annotations

import math

import pytest
import torch
from problems import small_network
from torch.utils.flop_counter import FlopCounterMode

from eosflow import objectives
from eosflow.networks import NETWORKS
from eosflow.workflow.resources import WEIGHT_USES

# torch counts baddbmm by itself, but not the form that works in place.
IN_PLACE = {torch.ops.aten.baddbmm_: lambda _, a, b, **__: 2 * math.prod(a) * b[2]}


@pytest.mark.registry
@pytest.mark.parametrize("name", NETWORKS)
def test_the_operations_expected_of_a_network_are_on_the_safe_side(name: str) -> None:
    settings, shape = small_network(name)
    network = settings.build(shape, 4)
    inputs = torch.ones(2, math.prod(shape), dtype=torch.float64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert network.outputs(network.initialize(0), inputs).shape == (2, 4)
    forward = counter.get_total_flops() / 2
    expected = 2 * network.parameters * WEIGHT_USES[settings.reads](shape)
    assert forward / 3 < expected < 30 * forward


def test_the_operations_of_an_mlp_are_those_that_torch_counts() -> None:
    settings = NETWORKS["mlp"](width=7, depth=4)  # type: ignore[call-arg]
    network = settings.build((5,), 4)
    theta = network.initialize(0)
    inputs = torch.rand(13, 5, dtype=torch.float64)
    objective = objectives.make(network, "cross_entropy", inputs, torch.arange(13) % 4)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        evaluation = objective.evaluate(theta)
        evaluation.gradient  # noqa: B018 — computed when it is asked for
    assert counter.get_total_flops() == 13 * settings.gradient_operations((5,), 4)  # type: ignore[attr-defined]
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        evaluation.hessian(torch.ones(len(theta), 5, dtype=theta.dtype))
    assert counter.get_total_flops() == 13 * 5 * settings.product_operations((5,), 4)  # type: ignore[attr-defined]
