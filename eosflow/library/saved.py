"""Saving and loading a run: the state of its next step, and its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.library.problem import Problem
from eosflow.measurements.base import Measurement
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Batches
from eosflow.optimizers.loop import TrainState
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.storage.tensors import load_tensors, save_tensors

# Between the loss of the file and that of the problem it goes on with: another number of threads.
SAME_LOSS = 1e-6


@dataclass(frozen=True)
class SavedRun:
    """How far a run has come, and what it has recorded on the way.

    `rows` are those of the trajectory; `records` lists of rows by the names of `measures`;
    `snapshots` θ (P,) by step. `loss` is 𝓛 at θ.
    """

    optimizer: Optimizer
    batches: Batches
    seed: int
    train_state: TrainState
    loss: float
    rows: list[list[float]]
    measures: Mapping[str, Measurement]
    records: Mapping[str, list[dict[str, Any]]]
    snapshots: Mapping[int, Tensor]


def save(path: Path, saved: SavedRun) -> None:
    """Write it to a safetensors file."""
    state = saved.train_state
    tensors = {"theta": state.theta, "rows": torch.tensor(saved.rows, dtype=torch.float64)}
    tensors |= {f"snapshot.{step}": theta for step, theta in saved.snapshots.items()}
    metadata: dict[str, Any] = {
        "iteration": state.iteration,
        "flow_time": state.flow_time,
        "loss": saved.loss,
        "made_by": _made_by(saved.optimizer, saved.batches, saved.seed),
        "measures": {name: settings.record(each) for name, each in saved.measures.items()},
        "records": saved.records,
        "batch": dict(state.batch),
    }
    held = {key: value for key, value in state.optimizer.items() if isinstance(value, Tensor)}
    tensors |= {f"optimizer.{key}": value for key, value in held.items()}
    metadata["optimizer"] = {k: value for k, value in state.optimizer.items() if k not in held}
    save_tensors(path, tensors, metadata)


def load(
    path: Path,
    problem: Problem,
    optimizer: Optimizer,
    batches: Batches,
    seed: int,
    measures: Mapping[str, Measurement],
) -> SavedRun:
    """What `save` wrote, to go on with.

    Raises: UserError where there is no such run, or it was one of other settings, data or weights.
    """
    if not path.is_file():
        raise UserError(f"resume: there is no file {path}. Write one with run.save(path).")
    tensors, metadata = load_tensors(path)
    if "made_by" not in metadata:
        raise UserError(f"resume: {path} is not a saved run; write one with run.save(path).")
    made_by = metadata["made_by"]
    for name, value in _made_by(optimizer, batches, seed).items():
        if made_by[name] != value:
            raise UserError(
                f"resume: {path} was made with {name} {made_by[name]}, and {value} was given. Give "
                "the same, or begin a new run without resume."
            )
    for name, measurement in measures.items():
        known = metadata["measures"].get(name)
        if known is not None and not settings.same(measurement, known):
            raise UserError(
                f"resume: {path} has {name} with other settings, {known}. Give it those, so that "
                "its rows go together."
            )
    placed = {name: tensor.to(problem.theta.device) for name, tensor in tensors.items()}
    theta = placed["theta"]
    if theta.shape != problem.theta.shape:
        raise UserError(
            f"resume: {path} is of a network with {len(theta)} parameters, and this one has "
            f"{len(problem.theta)}. Make the problem from the module of that run."
        )
    found, expected = problem.objective.evaluate(theta).loss, metadata["loss"]
    if abs(found - expected) > SAME_LOSS * abs(expected):
        raise UserError(
            f"resume: at the weights of {path} the loss is {found:.6g}, and it was {expected:.6g} "
            "when they were saved. Make the problem from the module, loss and data of that run."
        )
    state = TrainState(
        theta,
        {**metadata["optimizer"], **_under("optimizer.", placed)},
        metadata["batch"],
        metadata["iteration"],
        metadata["flow_time"],
    )
    snapshots = {int(step): value for step, value in _under("snapshot.", placed).items()}
    rows, records = tensors["rows"].tolist(), metadata["records"]
    loss, made_by = metadata["loss"], (optimizer, batches, seed)
    return SavedRun(*made_by, state, loss, rows, measures, records, snapshots)


def _made_by(optimizer: Optimizer, batches: Batches, seed: int) -> dict[str, Any]:
    return {
        "optimizer": settings.record(optimizer),
        "batches": settings.record(batches),
        "seed": seed,
    }


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
