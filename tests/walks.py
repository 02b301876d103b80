"""Paths of optimizers on small problems, for their tests."""

from __future__ import annotations

import dataclasses
import json

import torch
from safetensors.torch import load, save
from torch import Tensor

from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.optimizers.batches import Batches, FullBatch
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow


def walked(
    objective: Objective,
    optimizer: Optimizer,
    theta: Tensor,
    steps: int,
    batches: Batches | None = None,
    train_state: TrainState | None = None,
) -> tuple[list[TrainState], list[Iteration]]:
    """The states before each step, and the iterations; the last is the end."""
    states, iterations = [], []

    def note(train_state: TrainState, current: Iteration) -> None:
        states.append(dataclasses.replace(train_state))
        iterations.append(current)

    batches = batches or FullBatch()
    train_state = train_state or begin(objective, optimizer, batches, theta, 0)
    follow(objective, optimizer, batches, train_state, StopCriteria(iterations=steps), note)
    return states, iterations


def followed(
    objective: Objective, optimizer: Optimizer, theta: Tensor, until: StopCriteria
) -> tuple[TrainState, list[tuple[float, Tensor, Step]], str]:
    """The end of a run, (flow time, θ, step) of each of its steps, and how it ended."""
    seen: list[tuple[float, Tensor, Step]] = []

    def observe(train_state: TrainState, current: Iteration) -> None:
        if current.step is not None:
            seen.append((train_state.flow_time, train_state.theta, current.step))

    state = begin(objective, optimizer, FullBatch(), theta, 0)
    reason = follow(objective, optimizer, FullBatch(), state, until, observe)
    return state, seen, reason


def steps_of(
    objective: Objective,
    optimizer: Optimizer,
    theta: Tensor,
    steps: int,
    batches: Batches | None = None,
) -> list[Step]:
    """The steps that are taken."""
    return [i.step for i in walked(objective, optimizer, theta, steps, batches)[1] if i.step]


def copied(state: State) -> State:
    """The state, with tensors of its own."""
    return {key: v.clone() if isinstance(v, Tensor) else v for key, v in state.items()}


def same(first: State, second: State) -> bool:
    """Whether two states are equal to the bit."""
    return first.keys() == second.keys() and all(
        torch.equal(value, torch.as_tensor(second[key]))
        if isinstance(value, Tensor)
        else value == second[key]
        for key, value in first.items()
    )


def restored(train_state: TrainState) -> TrainState:
    """The state after a way through files: safetensors and JSON."""
    state = train_state.optimizer
    tensors = {key: value.clone() for key, value in state.items() if isinstance(value, Tensor)}
    numbers = {key: value for key, value in state.items() if key not in tensors}
    held = load(save({**tensors, "theta": train_state.theta}))
    return dataclasses.replace(
        train_state,
        theta=held.pop("theta"),
        optimizer={**json.loads(json.dumps(numbers)), **held},
        batch=json.loads(json.dumps(train_state.batch)),
    )
