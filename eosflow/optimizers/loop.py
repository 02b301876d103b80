"""The one loop: evaluate, stop or step, let others look."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.base import Objective, Point
from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.optimizers.batches import Batches
from eosflow.storage.errors import UserError

# A step that lands on the target loss misses it by at most this share, on the lower side.
LANDING = 1e-3
LANDING_TRIES = 12


@dataclass
class Course:
    """How far a run has come: all that its next step depends on.

    `optimizer` and `batch` are the states of the optimizer and of the order of the examples.
    """

    theta: Tensor
    optimizer: State
    batch: State
    iteration: int = 0
    flow_time: float = 0.0


@dataclass(frozen=True)
class Sight:
    """One iteration as observers see it.

    `point` is what the step saw: the whole objective's if `whole`, else that of a batch. `step` is
    the step taken from it, None at the end of the run.
    """

    point: Point
    whole: bool
    step: Step | None


@dataclass(frozen=True)
class Until:
    """Where a run ends: at a target loss, at a flow time exactly, or after so many iterations."""

    loss: float = -math.inf
    iterations: float = math.inf
    flow_time: float = math.inf


def begin(
    objective: Objective, optimizer: Optimizer, batches: Batches, theta: Tensor, seed: int
) -> Course:
    """The course before its first step from θ (P,).

    Raises: UserError where a batch is larger than the examples there are, or is to be augmented
    and the network reads no images.
    """
    state = batches.init(objective.examples, seed)
    if batches.augments() and len(_shape(objective)) != 3:
        raise UserError(
            f"The batches `{batches.name}` augment images, and the network does not read inputs "
            "as (channels, height, width): take one that does, or augment: none."
        )
    return Course(theta, optimizer.init(objective, theta, seed), state)


def follow(
    objective: Objective,
    optimizer: Optimizer,
    batches: Batches,
    course: Course,
    until: Until,
    observe: Callable[[Course, Sight], None],
) -> str:
    """Go on from `course`, which is changed on the way, until the run ends; returns why.

    `observe` is called once per iteration, before the course moves on, and once at the end. With
    batches the target loss is looked at once per epoch, for it takes the whole objective. Returns
    `target_loss`, `flow_time`, `max_iterations` or `diverged`.
    """
    epoch = batches.steps_per_epoch(objective.examples)
    point: Point | None = None
    while True:
        if course.iteration % epoch == 0 or course.iteration >= until.iterations:
            point = point or objective.evaluate(course.theta)
            if not math.isfinite(point.loss):
                return "diverged"
            if reason := _reached(course, point, until):
                observe(course, Sight(point, True, None))
                return reason
        rows, batch = batches.draw(cast(Mapping[str, int], course.batch))
        seen, part, whole = objective, point, rows is None
        if rows is not None:
            if point is not None:
                point.release()
            seen = objective.batch(rows.to(course.theta.device))
            seen.whole = objective
            if batches.augments():
                images = seen.inputs.reshape(len(rows), *_shape(objective))
                state = cast(Mapping[str, int], course.batch)
                changed = batches.augmented(images, rows, state)
                seen.inputs = changed.reshape(seen.inputs.shape)
            part = seen.evaluate(course.theta)
        assert part is not None
        step = None
        if math.isfinite(part.loss):
            room = until.flow_time - course.flow_time
            step = optimizer.step(seen, part, course.optimizer, room)
            if step is not None and optimizer.lands_on_target:
                step = _landed(objective, optimizer, part, course.optimizer, step, until.loss)
        observe(course, Sight(part, whole, step))
        if step is None:
            return "diverged"
        part.release()
        course.theta, course.optimizer, course.batch = step.theta, step.state, batch
        course.flow_time += step.step_size
        course.iteration += 1
        point = step.point if whole else None


def _landed(
    objective: Objective, optimizer: Optimizer, point: Point, state: State, step: Step, goal: float
) -> Step:
    """The step itself or, where it went beyond the target loss, the shorter one that meets it.

    Steps are pure, so that shorter ones can be tried from the same point, with sizes by the
    Illinois variant of false position in the logarithm of the loss. Returns the one that came
    closest from below.
    """

    def excess(loss: float) -> float:
        return math.log(max(loss, sys.float_info.min) / goal)

    if step.point is None or goal <= 0 or excess(step.point.loss) >= -LANDING:
        return step
    low, high = 0.0, step.step_size
    above, below = excess(point.loss), excess(step.point.loss)
    side = 0
    for _ in range(LANDING_TRIES):
        size = (low * below - high * above) / (below - above)
        trial = optimizer.step(objective, point, state, size)
        if trial is None or trial.point is None:
            break
        distance = excess(trial.point.loss)
        if distance > 0:
            trial.point.release()
            low, above, below = trial.step_size, distance, below / 2 if side > 0 else below
            side = 1
        else:
            step.point.release()
            high, below, above = trial.step_size, distance, above / 2 if side < 0 else above
            step, side = trial, -1
            if distance >= -LANDING:
                break
    return step


def _shape(objective: Objective) -> tuple[int, ...]:
    """The shape of one input as the network reads it; empty for one that takes plain numbers."""
    network = objective.network
    return network.shape if isinstance(network, ModuleNetwork) else ()


def _reached(course: Course, point: Point, until: Until) -> str:
    if point.loss <= until.loss:
        return "target_loss"
    # The last step is as long as the room left; adding it up may miss the end by a rounding.
    if course.flow_time >= until.flow_time * (1 - 1e-12):
        return "flow_time"
    return "max_iterations" if course.iteration >= until.iterations else ""
