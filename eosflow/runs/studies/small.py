"""What studies of small problems share: a course at given iterations, and dense matrices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from eosflow.objectives.base import Matrix, Objective, Point
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.loop import Until, begin, follow


def at_iterations(
    objective: Objective, optimizer: Optimizer, start: Tensor, iterations: Iterable[int]
) -> Iterator[Tensor]:
    """θ (P,) at each of the iterations, in rising order; ends early where the course diverges."""
    batches = FullBatch()
    course = begin(objective, optimizer, batches, start, seed=0)
    for iteration in iterations:
        until = Until(iterations=iteration)
        if follow(objective, optimizer, batches, course, until, lambda *_: None) == "diverged":
            return
        yield course.theta


def dense(point: Point, matrix: Matrix) -> Tensor:
    """The matrix (P, P) itself, symmetric to the last bit."""
    whole = point.product(matrix, torch.eye(len(point.theta)).to(point.theta))
    return (whole + whole.T) / 2
