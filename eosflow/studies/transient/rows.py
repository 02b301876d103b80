"""The start of training, by the paper's scheme, by the adaptive one and by small steps."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

from torch import Tensor

from eosflow.measurements.factors import decompose
from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.runs.snapshots import FlowTimes
from eosflow.runs.spec import RunSpec
from eosflow.studies.testbeds import DICE, dice

log = logging.getLogger(__name__)

# Under any configuration that of the other study, but from the initialisation on.
PROBLEM = dataclasses.replace(DICE, experiment="transient")
END = 1.0  # flow time
TOLERANCES = (1e-2, 1e-4)
SMALL_STEP = 0.05  # of 1/λ₁ at the start; λ₁ rises to three times as much at once
# Recorded: each of the iterations that the paper leaves out, then a few per decade.
FIRST = 10
LATER = FlowTimes(per_decade=12)
QUANTITIES = ("loss", "sharpness_hessian", "alignment_product", "m_norm2")


def schemes(spec: RunSpec, sharpness: float) -> dict[str, Optimizer]:
    """The optimizers by the names that the figure has; λ₁(𝓗) at the start sets the small step."""
    adaptive = {
        f"adaptive, tolerance {tolerance:g}": ExponentialRosenbrock(tolerance=tolerance)
        for tolerance in TOLERANCES
    }
    descent = GradientDescent(learning_rate=SMALL_STEP / sharpness)
    return {"exponential Euler": spec.optimizer, **adaptive, "gradient descent": descent}


def rows() -> list[dict[str, Any]]:
    """The rows of the study, on images drawn for it."""
    return study(PROBLEM, dice(PROBLEM))


def study(spec: RunSpec, objective: Objective) -> list[dict[str, Any]]:
    """One row per (scheme, recorded iteration): its flow time and `QUANTITIES` there."""
    start = objective.network.initialize(spec.init_seed).to(objective.inputs)
    sharpness = decompose(objective, start)["sharpness_hessian"]
    rows = []
    for scheme, optimizer in schemes(spec, sharpness).items():
        seen = _watched(objective, optimizer, start, spec.init_seed)
        log.info("%s: %d iterations", scheme, seen[-1]["iteration"])
        rows += [{"scheme": scheme, **row} for row in seen]
    return rows


def _watched(
    objective: Objective, optimizer: Optimizer, start: Tensor, seed: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def look(train_state: TrainState, current: Iteration) -> None:
        last = rows[-1]["flow_time"] if rows else -math.inf
        later = LATER.wanted(train_state.iteration, train_state.flow_time, last)
        if train_state.iteration <= FIRST or later or current.step is None:
            record = decompose(objective, train_state.theta)
            place = {"iteration": train_state.iteration, "flow_time": train_state.flow_time}
            rows.append(place | {name: record[name] for name in QUANTITIES})

    train_state = begin(objective, optimizer, FullBatch(), start, seed)
    follow(objective, optimizer, FullBatch(), train_state, StopCriteria(flow_time=END), look)
    return rows
