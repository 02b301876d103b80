"""The operations that planning counts are those that torch counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from eosflow import objectives
from eosflow.networks import NETWORKS

# torch counts addmm by itself, but not the form that works in place.
IN_PLACE = {torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1]}


@pytest.mark.parametrize(
    ("name", "values", "shape", "tolerance"),
    [
        ("mlp", {"width": 7, "depth": 4}, (5,), 0.0),
        ("cnn", {"channels": 2, "dense": 8}, (3, 12, 12), 0.2),
        ("resnet", {"blocks": 1, "channels": 2}, (3, 8, 8), 0.2),
        ("vit", {"patch": 2, "width": 8, "depth": 2, "heads": 2}, (3, 8, 12), 0.05),
        ("bert", {"layers": 2, "width": 8, "heads": 2, "vocabulary": 9}, (3, 7), 0.2),
    ],
)
def test_operations_are_those_that_torch_counts(
    name: str, values: dict[str, int], shape: tuple[int, ...], tolerance: float
) -> None:
    settings = NETWORKS[name](**values)
    network = settings.build(shape, 4)
    theta = network.initialize(0)
    inputs = torch.rand(13, math.prod(shape), dtype=torch.float64)
    objective = objectives.make(network, "cross_entropy", inputs, torch.arange(13) % 4)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        evaluation = objective.evaluate(theta)
    expected = 13 * settings.gradient_operations(shape, 4)
    assert counter.get_total_flops() == pytest.approx(expected, rel=tolerance)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        evaluation.hessian(torch.ones(len(theta), 5, dtype=theta.dtype))
    expected = 13 * 5 * settings.product_operations(shape, 4)
    if name != "mlp":  # automatic differentiation goes through the gradient again, once
        expected += 13 * settings.gradient_operations(shape, 4)
    assert counter.get_total_flops() == pytest.approx(expected, rel=tolerance)
