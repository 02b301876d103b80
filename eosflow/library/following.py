"""Training a user's own network by any optimizer of the registry, with measurements on the way."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field
from torch import Tensor, nn

from eosflow.library.measuring import named
from eosflow.library.problem import Problem
from eosflow.library.recording import Recorder, Shown
from eosflow.library.saved import SavedRun, load, save
from eosflow.measurements.base import Measurement
from eosflow.optimizers import loop
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Batches, FullBatch, Shuffled
from eosflow.optimizers.gradient import GradientDescent
from eosflow.runs.spec import Stop
from eosflow.storage.errors import UserError


class SGD(GradientDescent):
    """Gradient descent on batches: θ ← θ − η∇𝓛_B, every example once per epoch in a new order.

    >>> import eosflow
    >>> eosflow.SGD(learning_rate=0.1, batch_size=32, momentum=0.9).describe()
    'gradient descent, learning rate 0.1, momentum 0.9, batches of 32 in a new order every epoch'
    """

    batch_size: int = Field(description="examples per batch", ge=1, examples=[32])

    def describe(self) -> str:
        """The optimizer in words, with its batches."""
        return f"{super().describe()}, {Shuffled(size=self.batch_size).describe()}"


@dataclass(frozen=True)
class Run:
    """The result of `follow`.

    `trajectory` has a row per step, with the state before it; `measurements` a frame per
    measurement, by its name. `module` is the trained network, a copy in the problem's precision,
    `theta` its parameters (P,), and `loss` 𝓛 there, NaN if the run diverged. `stopped` is the
    reason why it ended: `target_loss`, `flow_time`, `max_iterations` or `diverged`. `snapshots` has
    θ at the requested steps; `optimizer` is the one used.
    """

    trajectory: pd.DataFrame
    measurements: dict[str, pd.DataFrame]
    module: nn.Module
    theta: Tensor
    loss: float
    stopped: str
    optimizer: Optimizer
    snapshots: Mapping[int, Tensor]
    _saved: SavedRun = dataclasses.field(repr=False)

    def save(self, path: str | Path) -> None:
        """Write the run to a safetensors file; `follow(…, resume=path)` continues it."""
        save(Path(path), self._saved)


def follow(
    problem: Problem,
    optimizer: Optimizer,
    *,
    until_loss: float | None = None,
    until_flow_time: float | None = None,
    steps: int | None = None,
    measure: Sequence[Measurement] = (),
    batches: Batches | None = None,
    held_out: tuple[Any, Any] | None = None,
    snapshots: Collection[int] = (),
    resume: str | Path | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Run:
    """Train from the module's own weights until the first of the given limits.

    The limits are `until_loss`, `until_flow_time` and `steps` (by default 200,000). `measure`:
    measurements of the loss over all examples, at every multiple of their `every`; with `every=0`
    at steps 0, 10, every 100th and the last. `held_out`: (inputs, labels) on which `Accuracy` also
    measures. `snapshots`: steps at which θ is kept. `batches`: the examples of each step, by
    default all; `seed` draws them and the start of the searches for eigenpairs. `resume`: a file of
    `run.save`; with the same problem, optimizer, batches and seed the run equals an uninterrupted
    one to the bit, and `steps` counts from its start. `progress` shows a bar or lines on stderr, by
    default only on a terminal.

    Returns: see `Run`. Raises: UserError, before work starts, for settings that are not allowed or
    do not fit together.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> data = torch.randn(20, 4), torch.randint(3, (20,))
    >>> problem = eosflow.Problem(net, "cross_entropy", data)
    >>> optimizer = eosflow.GradientDescent(learning_rate=0.1)
    >>> run = eosflow.follow(
    ...     problem, optimizer, steps=40, measure=[eosflow.TopEigenvalues(k=2, every=20)]
    ... )
    >>> run.stopped, len(run.trajectory), run.loss < problem.loss
    ('max_iterations', 40, True)
    >>> list(run.measurements["top-eigenvalues"]["iteration"])
    [0, 20, 40]
    >>> flow = eosflow.ExponentialRosenbrock(tolerance=1e-2)
    >>> eosflow.follow(problem, flow, until_loss=0.9).stopped
    'target_loss'
    """
    _check(problem, optimizer, batches)
    until = _until(until_loss, until_flow_time, steps)
    if batches is None:
        size = optimizer.batch_size if isinstance(optimizer, SGD) else None
        batches = Shuffled(size=size) if size else FullBatch()
    parts = problem.objective, optimizer, batches
    measures = named(measure, None if held_out is None else len(held_out[1]))
    others = None if held_out is None else problem.objective_of(held_out)
    saved = None
    if resume is not None:
        saved = load(Path(resume), problem, optimizer, batches, seed, measures)
    train_state = saved.train_state if saved else loop.begin(*parts, problem.theta, seed)
    shown = Shown(until, sys.stderr.isatty() if progress is None else progress)
    recorder = Recorder(problem, optimizer, measures, seed, shown, others, snapshots)
    if saved:
        recorder.go_on(saved)
    try:
        stopped = loop.follow(*parts, train_state, until, recorder.observe)
    finally:
        shown.close()
    problem.network.check_again()
    loss = recorder.loss if stopped != "diverged" else math.nan
    return Run(
        trajectory=recorder.trajectory(),
        measurements=recorder.frames(),
        module=problem.network.trained(train_state.theta),
        theta=train_state.theta,
        loss=loss,
        stopped=stopped,
        optimizer=optimizer,
        snapshots=recorder.snapshots,
        _saved=SavedRun(
            *(optimizer, batches, seed, train_state, loss),
            *(recorder.rows, measures, recorder.records, recorder.snapshots),
        ),
    )


def _until(loss: float | None, flow_time: float | None, steps: int | None) -> loop.StopCriteria:
    if loss is None and flow_time is None and steps is None:
        raise UserError(
            "follow: no end was given. Give until_loss, until_flow_time, steps, or several of them."
        )
    given = {"until_loss": loss, "until_flow_time": flow_time, "steps": steps}
    for name, value in given.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UserError(f"{name}: {value} was given; it must be a number greater than 0.")
    if steps is not None and int(steps) != steps:
        raise UserError(f"steps: {steps} was given; it must be a whole number.")
    return loop.StopCriteria(
        -math.inf if loss is None else loss,
        Stop().max_iterations if steps is None else steps,
        math.inf if flow_time is None else flow_time,
    )


def _check(problem: Problem, optimizer: Optimizer, batches: Batches | None) -> None:
    if not isinstance(optimizer, Optimizer):
        name = getattr(optimizer, "__name__", type(optimizer).__name__)
        raise UserError(
            f"optimizer: {name} was given; it must be one of eosflow's, with its settings, such as "
            "eosflow.GradientDescent(learning_rate=0.1). A torch.optim optimizer cannot be used: "
            "its step changes its own state."
        )
    if not isinstance(problem, Problem):
        raise UserError(
            f"problem: {type(problem).__name__} was given; make one: "
            "eosflow.Problem(module, criterion, data)."
        )
    if batches is None:
        return
    name = type(optimizer).__name__
    if isinstance(optimizer, SGD):
        raise UserError("batches: SGD has its own; use GradientDescent with batches instead.")
    if optimizer.follows_flow and not isinstance(batches, FullBatch):
        raise UserError(
            f"batches: {name} follows the flow of the whole loss. Leave them out, or choose an "
            "optimizer such as GradientDescent."
        )
