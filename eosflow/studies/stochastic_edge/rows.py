"""SGD with batches of several sizes from the same starts: which sharpness is held at 2/η."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from eosflow.measurements.batch_sharpness import BatchSharpness, MinibatchSharpness
from eosflow.measurements.critical_sharpness import CriticalSharpness
from eosflow.networks.perceptron import MLP
from eosflow.objectives.base import Objective
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.batches import FullBatch, Shuffled
from eosflow.optimizers.gradient import GradientDescent
from eosflow.spectra.randomness import generator
from eosflow.studies.testbeds import SEEDS, Tracker, initial, trajectory

EXAMPLES = 128
SIZES = (4, 8, 16, 32, 64, EXAMPLES)
RATE = 0.2
STEPS = range(150, 1501, 150)


def signs() -> Objective:
    """Random signs of 128 Gaussian inputs (16), to be learnt by heart; ℓ = ½(f − y)².

    Two hidden layers of 32 tanh units: 1,633 parameters. The loss can fall to 0.
    """
    stream = generator(0, "random signs")
    inputs = torch.randn(EXAMPLES, 16, generator=stream, dtype=torch.float64)
    answers = torch.randn(EXAMPLES, 1, generator=stream, dtype=torch.float64).sign()
    network = MLP((16, 32, 32, 1), "tanh", gain=1.0)
    return MLPObjective(network, "half_squared_error", inputs, answers)


def rows() -> Iterator[dict[str, Any]]:
    objective = signs()
    for size in SIZES:
        for seed in SEEDS:
            yield from study(objective, size, seed)


def study(
    objective: Objective, size: int, seed: int, steps: range = STEPS
) -> Iterator[dict[str, Any]]:
    """One row per look. Ends early where SGD diverges."""
    whole = size == objective.examples
    batches = FullBatch() if whole else Shuffled(size=size)
    optimizer, tracker = GradientDescent(learning_rate=RATE), Tracker()
    start = initial(objective, seed)
    for state in trajectory(objective, optimizer, start, steps, batches, seed):
        step, theta, evaluation = state.iteration, state.theta, objective.evaluate(state.theta)
        pairs = tracker.find(evaluation.hessian, theta)
        at = objective, theta, step, seed
        found = BatchSharpness(size=size).measure(*at)
        row = {
            "batch": size,
            "seed": seed,
            "learning_rate": RATE,
            "iteration": step,
            "loss": evaluation.loss,
            "sharpness": pairs.values[0].item(),
            "residual": pairs.relative_residual,
            "batch_sharpness": found["batch_sharpness"],
            "batch_sharpness_error": found["batch_sharpness_error"],
            "critical_sharpness": CriticalSharpness().measure(*at)["critical_sharpness"],
        }
        if step == steps[-1]:
            beside = MinibatchSharpness(batch_size=size).measure(*at)
            row["minibatch_sharpness"] = beside["minibatch_sharpness"]
        yield row
