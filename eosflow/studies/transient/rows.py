"""The start of training, by the paper's scheme, by the adaptive one and by small steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from eosflow.measurements.factors import decompose
from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.runs.snapshots import FlowTimes
from eosflow.runs.spec import RunSpec
from eosflow.studies.testbeds import DICE, FULL, drawn, initial

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
    """The optimizers by their names in the figure; λ₁(𝓗) at the start sets the small step."""
    adaptive = {
        f"adaptive, tolerance {tolerance:g}": ExponentialRosenbrock(tolerance=tolerance)
        for tolerance in TOLERANCES
    }
    descent = GradientDescent(learning_rate=SMALL_STEP / sharpness)
    return {"exponential Euler": spec.optimizer, **adaptive, "gradient descent": descent}


def rows() -> Iterator[dict[str, Any]]:
    yield from study(PROBLEM, drawn(PROBLEM))


def study(spec: RunSpec, objective: Objective) -> Iterator[dict[str, Any]]:
    """One row per scheme and recorded iteration."""
    start = initial(objective, spec.init_seed)
    sharpness = decompose(objective, start)["sharpness_hessian"]
    for scheme, optimizer in schemes(spec, sharpness).items():
        for row in _recorded(objective, optimizer, start, spec.init_seed):
            yield {"scheme": scheme, **row}


def _recorded(
    objective: Objective, optimizer: Optimizer, start: Tensor, seed: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    last = -math.inf

    def observe(state: TrainState, now: Iteration) -> None:
        nonlocal last
        later = LATER.wanted(state.iteration, state.flow_time, last)
        if state.iteration <= FIRST or later or now.step is None:
            found, last = decompose(objective, state.theta), state.flow_time
            row = {"iteration": state.iteration, "flow_time": last}
            rows.append(row | {name: found[name] for name in QUANTITIES})

    state = begin(objective, optimizer, FULL, start, seed)
    follow(objective, optimizer, FULL, state, StopCriteria(flow_time=END), observe)
    return rows
