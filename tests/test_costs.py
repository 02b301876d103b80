"""The operations of a product and of a gradient are those that torch counts in them."""

from __future__ import annotations

import torch
from problems import DIMENSIONS, small_problem
from torch.utils.flop_counter import FlopCounterMode

from eosflow.networks.costs import gradient_operations, product_operations


def test_operations_are_those_that_torch_counts() -> None:
    objective, theta = small_problem("cross_entropy", examples=13)
    block = torch.ones(len(theta), 5, dtype=theta.dtype)
    # torch counts addmm by itself, but not the form that works in place.
    in_place = {torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1]}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        point = objective.linearize(theta)
    assert counter.get_total_flops() == gradient_operations(DIMENSIONS, 13)
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        point.hessian(block)
    assert counter.get_total_flops() == product_operations(DIMENSIONS, 13, vectors=5)
