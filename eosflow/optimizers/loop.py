"""The training loop: evaluate, stop or step, call the observers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from eosflow.objectives.base import Evaluation, Objective
from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.optimizers.batches import Batches
from eosflow.optimizers.batches import State as BatchState

# A step that lands on the target loss misses it by at most this share, on the lower side.
LANDING = 1e-3
LANDING_TRIES = 12


@dataclass
class TrainState:
    """How far a run has come: all that its next step depends on.

    `optimizer` and `batch` are the states of the optimizer and of the order of the examples.
    """

    theta: Tensor
    optimizer: State
    batch: BatchState
    iteration: int = 0
    flow_time: float = 0.0


@dataclass(frozen=True)
class Iteration:
    """One iteration as observers see it.

    `evaluation` is what the step saw: of all examples if `whole`, else of a batch. `step` is
    the step taken from it, None at the end of the run.
    """

    evaluation: Evaluation
    whole: bool
    step: Step | None


@dataclass(frozen=True)
class StopCriteria:
    """Where a run ends: at a target loss, at a flow time exactly, or after so many iterations."""

    loss: float = -math.inf
    iterations: float = math.inf
    flow_time: float = math.inf


def begin(
    objective: Objective, optimizer: Optimizer, batches: Batches, theta: Tensor, seed: int
) -> TrainState:
    """The state before the first step from θ (P,).

    Raises: UserError for batches that these examples cannot have.
    """
    state = batches.init(objective, seed)
    return TrainState(theta, optimizer.init(objective, theta, seed), state)


def follow(
    objective: Objective,
    optimizer: Optimizer,
    batches: Batches,
    train_state: TrainState,
    until: StopCriteria,
    observe: Callable[[TrainState, Iteration], None],
) -> str:
    """Go on from `train_state`, which changes on the way, until the run ends; returns why.

    `observe` is called once per iteration, before the state changes, and once at the end. With
    batches a target loss is tested once per epoch, for it takes the whole objective, which is
    else evaluated at the end alone. Returns `target_loss`, `flow_time`, `max_iterations` or
    `diverged`.
    """
    epoch = batches.steps_per_epoch(objective.examples)
    evaluation: Evaluation | None = None
    while True:
        if _due(train_state, until, epoch):
            evaluation = evaluation or objective.evaluate(train_state.theta)
            if not math.isfinite(evaluation.loss):
                return "diverged"
            reached = "target_loss" if evaluation.loss <= until.loss else ""
            if reason := reached or _ended(train_state, until):
                observe(train_state, Iteration(evaluation, True, None))
                return reason
        rows, batch = batches.draw(train_state.batch)
        part, whole = evaluation, rows is None
        if rows is not None:
            seen = batches.of(objective, rows, train_state.batch)
            seen.whole = objective
            part = seen.evaluate(train_state.theta)
        assert part is not None
        if not math.isfinite(part.loss):
            return "diverged"
        max_flow_time = until.flow_time - train_state.flow_time
        step = optimizer.step(part, train_state.optimizer, max_flow_time)
        if step is not None and optimizer.lands_on_target:
            step = _landed(optimizer, part, train_state.optimizer, step, until.loss)
        observe(train_state, Iteration(part, whole, step))
        if step is None:
            return "diverged"
        train_state.theta, train_state.optimizer, train_state.batch = step.theta, step.state, batch
        train_state.flow_time += step.step_size
        train_state.iteration += 1
        evaluation = step.evaluation if whole else None


def _due(train_state: TrainState, until: StopCriteria, epoch: int) -> bool:
    """Whether the run may end here, or its step needs the whole objective."""
    if train_state.iteration % epoch:
        return train_state.iteration >= until.iterations
    wanted = epoch == 1 or math.isfinite(until.loss)
    return wanted or bool(_ended(train_state, until))


def _landed(
    optimizer: Optimizer, evaluation: Evaluation, state: State, step: Step, goal: float
) -> Step:
    """The step itself or, where it went beyond the target loss, the shorter one that meets it.

    Steps are pure, so that shorter ones can be tried from the same evaluation, with sizes by the
    Illinois variant of false position in the logarithm of the loss. Returns the one that came
    closest from below.
    """

    def excess(loss: float) -> float:
        return math.log(max(loss, sys.float_info.min) / goal)

    if step.evaluation is None or goal <= 0 or excess(step.evaluation.loss) >= -LANDING:
        return step
    low, high = 0.0, step.step_size
    above, below = excess(evaluation.loss), excess(step.evaluation.loss)
    side = 0
    for _ in range(LANDING_TRIES):
        size = (low * below - high * above) / (below - above)
        trial = optimizer.step(evaluation, state, size)
        if trial is None or trial.evaluation is None:
            break
        distance = excess(trial.evaluation.loss)
        if distance > 0:
            low, above, below = trial.step_size, distance, below / 2 if side > 0 else below
            side = 1
        else:
            high, below, above = trial.step_size, distance, above / 2 if side < 0 else above
            step, side = trial, -1
            if distance >= -LANDING:
                break
    return step


def _ended(train_state: TrainState, until: StopCriteria) -> str:
    # The last step is as long as the time left; adding it up may miss the end by a rounding.
    if train_state.flow_time >= until.flow_time * (1 - 1e-12):
        return "flow_time"
    return "max_iterations" if train_state.iteration >= until.iterations else ""
