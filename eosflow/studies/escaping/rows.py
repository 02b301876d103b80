"""SGD from one start, with all of each step, without its sharpest direction, and with only that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Shuffled
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.subspace import BulkSGD, DominantSGD
from eosflow.studies.escaping import CHECKPOINT, INITIALISATION, ONLY, REMOVED, WHOLE
from eosflow.studies.testbeds import SEEDS, cheb, evaluations, initial, trajectory


@dataclass(frozen=True)
class Problem:
    """The steps of each method, recorded every `every`, and of SGD `before` the checkpoint."""

    seeds: tuple[int, ...] = SEEDS
    learning_rate: float = 0.2
    batch_size: int = 10
    steps: int = 300
    before: int = 200
    every: int = 20

    def methods(self) -> dict[str, Optimizer]:
        shared: dict[str, Any] = {"learning_rate": self.learning_rate}
        top: dict[str, Any] = {**shared, "k": 1, "every": 1, "eigen_tolerance": 0.01}
        sgd = GradientDescent(**shared)
        return {REMOVED: BulkSGD(**top), WHOLE: sgd, ONLY: DominantSGD(**top)}


CHEB = Problem()


def rows(problem: Problem = CHEB, objective: Objective | None = None) -> Iterator[dict[str, Any]]:
    """One row per seed, start, method and recorded iteration.

    From the initialisation the methods have the same batches of a seed, from the checkpoint each
    its own, as in the source's code.
    """
    objective = objective or cheb()
    iterations = range(0, problem.steps + 1, problem.every)
    batches = Shuffled(size=problem.batch_size)
    sgd = GradientDescent(learning_rate=problem.learning_rate)
    for seed in problem.seeds:
        first = initial(objective, seed)
        (later,) = trajectory(objective, sgd, first, [problem.before], batches, seed)
        for number, (method, optimizer) in enumerate(problem.methods().items(), 1):
            for start, theta, stream in (
                (INITIALISATION, first, seed),
                (CHECKPOINT, later.theta, 1000 * number + seed),
            ):
                shared = {"learning_rate": problem.learning_rate, "seed": seed, "start": start}
                looks = evaluations(objective, optimizer, theta, iterations, 2, batches, stream)
                for _, row in looks:
                    del row["gradient_share"], row["mean_loss"]
                    yield {**shared, "method": method, **row}
