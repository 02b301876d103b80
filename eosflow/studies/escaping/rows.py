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
    """η, the size of the batches, and the steps of each method, and of SGD to the checkpoint.

    The trajectory is recorded every `every` steps, a divisor of `steps`.
    """

    seeds: tuple[int, ...] = SEEDS
    learning_rate: float = 0.2
    batch_size: int = 10
    steps: int = 300
    before: int = 200
    every: int = 20

    def methods(self) -> dict[str, Optimizer]:
        """What is followed, by name. The direction is found anew in every step."""
        shared: dict[str, Any] = {"learning_rate": self.learning_rate}
        top: dict[str, Any] = {**shared, "k": 1, "every": 1, "eigen_tolerance": 0.01}
        return {
            REMOVED: BulkSGD(**top),
            WHOLE: GradientDescent(**shared),
            ONLY: DominantSGD(**top),
        }


CHEB = Problem()


def rows() -> Iterator[dict[str, Any]]:
    """The rows of the study."""
    yield from study(CHEB, cheb())


def study(problem: Problem, objective: Objective) -> Iterator[dict[str, Any]]:
    """One row per (seed, start, method, recorded iteration).

    From the initialisation the methods have the same batches of a seed, from the checkpoint, which
    SGD reaches after `before` steps, each its own.

    `loss` is that of all examples, `sharpness` λ₁(𝓗) and `residual` the larger relative residual of
    the first two eigenpairs.
    """
    iterations = range(0, problem.steps + 1, problem.every)
    batches = Shuffled(size=problem.batch_size)
    sgd = GradientDescent(learning_rate=problem.learning_rate)
    for seed in problem.seeds:
        first = initial(objective, seed)
        (later,) = trajectory(objective, sgd, first, [problem.before], batches, seed)
        for number, (method, optimizer) in enumerate(problem.methods().items(), 1):
            # From the checkpoint every method has separate batches, as in the source's code.
            for start, theta, stream in (
                (INITIALISATION, first, seed),
                (CHECKPOINT, later.theta, 1000 * number + seed),
            ):
                shared = {"learning_rate": problem.learning_rate, "seed": seed, "start": start}
                for _, row in evaluations(
                    objective, optimizer, theta, iterations, 2, batches, stream
                ):
                    del row["gradient_share"], row["mean_loss"]
                    yield {**shared, "method": method, **row}
