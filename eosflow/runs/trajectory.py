"""The rows of a trajectory: what is written of each step."""

from __future__ import annotations

from eosflow.optimizers.loop import Iteration, TrainState
from eosflow.runs.spec import RunSpec
from eosflow.storage.columns import types_of

# The first columns of every trajectory; those of the optimizer follow.
COLUMNS = {
    "iteration": "int64",
    "flow_time": "float64",
    "step_size": "float64",
    "loss": "float64",
    "train_accuracy": "float64",
}


def columns(spec: RunSpec) -> dict[str, str]:
    """The trajectory's columns with their NumPy types."""
    return COLUMNS | types_of(spec.optimizer.columns(spec.parameters, spec.outputs))


def row_of(train_state: TrainState, current: Iteration, names: dict[str, str]) -> list[float]:
    """One row of the trajectory, in the order of `columns`; of a step that was taken."""
    assert current.step is not None
    known: dict[str, float] = {
        "iteration": train_state.iteration,
        "flow_time": train_state.flow_time,
        "step_size": current.step.step_size,
        "loss": current.evaluation.loss,
        "train_accuracy": current.evaluation.accuracy,
        **current.step.facts,
    }
    return [known[name] for name in names]
