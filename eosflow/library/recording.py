"""The frames of a run that is followed, and its progress as it is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eosflow.library.measuring import named
from eosflow.library.problem import Problem
from eosflow.measurements.base import Measurement
from eosflow.optimizers import loop
from eosflow.optimizers.base import Optimizer
from eosflow.runs.progress import LossProgress
from eosflow.runs.snapshots import EveryIterations
from eosflow.runs.train import COLUMNS, row_of
from eosflow.storage.columns import types_of
from eosflow.storage.progress import count_progress

# What a measurement with `every=0` looks at, besides the last: the snapshots of a workflow's run.
SNAPSHOTS = EveryIterations()


class Recorder:
    """The observer that fills the frames of a run."""

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        measure: Sequence[Measurement],
        seed: int,
        shown: Shown,
        held_out: tuple[Any, Any] | None,
    ) -> None:
        self._problem, self._optimizer = problem, optimizer
        outputs = math.prod(problem.network.output_shape)
        self._kinds = COLUMNS | types_of(optimizer.columns(problem.network.parameters, outputs))
        self._rows: list[list[float]] = []
        self._measures = named(measure, None if held_out is None else len(held_out[1]))
        self._records: dict[str, list[dict[str, Any]]] = {name: [] for name in self._measures}
        self._held_out = None if held_out is None else problem.objective_of(held_out)
        self._seed = seed
        self._shown = shown
        self.loss = math.nan

    def observe(self, train_state: loop.TrainState, current: loop.Iteration) -> None:
        """Note a row, and measure where that is due."""
        last = current.step is None
        for name, measurement in self._measures.items():
            if self._due(measurement, train_state.iteration, last):
                found = self._measured(measurement, train_state)
                place = {"iteration": train_state.iteration, "flow_time": train_state.flow_time}
                self._records[name].append(place | found)
        if current.step is None:
            self.loss = current.evaluation.loss
            return
        self._rows.append(row_of(train_state, current, self._kinds))
        half = self._rows[train_state.iteration // 2][list(self._kinds).index("loss")]
        self._shown.update(train_state, current, half)

    def _measured(self, measurement: Measurement, train_state: loop.TrainState) -> dict[str, Any]:
        place = train_state.theta, train_state.iteration, self._seed
        measure: Any = measurement.during(self._optimizer, train_state.iteration).measure
        if measurement.held_out_examples:
            return dict(measure(self._problem.objective, *place, self._held_out))
        return dict(measure(self._problem.objective, *place))

    def _due(self, measurement: Measurement, iteration: int, last: bool) -> bool:
        if measurement.every:
            return iteration % measurement.every == 0
        return last or SNAPSHOTS.wanted(iteration, 0.0, 0.0)

    def trajectory(self) -> pd.DataFrame:
        """The rows with their columns' types."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, len(self._kinds))
        columns = enumerate(self._kinds.items())
        return pd.DataFrame({name: table[:, at].astype(kind) for at, (name, kind) in columns})

    def frames(self) -> dict[str, pd.DataFrame]:
        """The measurements' records."""
        return {name: pd.DataFrame(records) for name, records in self._records.items()}


class Shown:
    """Progress towards the end of a run, as the workflow shows it; nothing where it is off."""

    def __init__(self, until: loop.StopCriteria, on: bool) -> None:
        self._until = until
        self._update: Callable[[loop.TrainState, loop.Iteration, float], None] = lambda *_: None
        self.close: Callable[[], None] = lambda: None
        if not on:
            return
        if math.isfinite(until.loss):
            towards = LossProgress("follow", until.loss)
            self._update = lambda train_state, current, half: towards.update(
                train_state.iteration, current.evaluation.loss, half, _sharpness(current)
            )
            self.close = towards.close
        elif math.isfinite(until.flow_time):
            share = count_progress("follow", 100, " %")

            def advance(train_state: loop.TrainState, current: loop.Iteration, half: float) -> None:
                share.update(min(100 * train_state.flow_time / until.flow_time, 100) - share.n)

            self._update = advance
            self.close = share.close
        else:
            count = count_progress("follow", int(until.iterations), " steps")

            def step(train_state: loop.TrainState, current: loop.Iteration, half: float) -> None:
                count.update(1)

            self._update = step
            self.close = count.close

    def update(self, train_state: loop.TrainState, current: loop.Iteration, half: float) -> None:
        """Show the newest step; `half` is the loss of half as many steps."""
        self._update(train_state, current, half)


def _sharpness(current: loop.Iteration) -> float | None:
    assert current.step is not None
    return current.step.facts.get("eigenvalue_1")
