"""The frames of a run, and the display of its progress."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from eosflow.library.measuring import measured
from eosflow.library.problem import Problem
from eosflow.library.saved import SavedRun
from eosflow.measurements.base import Measurement
from eosflow.objectives.base import Objective
from eosflow.optimizers import loop
from eosflow.optimizers.base import Optimizer
from eosflow.runs.progress import LossProgress
from eosflow.runs.snapshots import EveryIterations
from eosflow.runs.trajectory import COLUMNS, row_of
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
        measures: Mapping[str, Measurement],
        seed: int,
        shown: Shown,
        held_out: Objective | None,
        snapshots: Collection[int],
    ) -> None:
        self._problem, self._optimizer = problem, optimizer
        outputs = math.prod(problem.network.output_shape)
        self._kinds = COLUMNS | types_of(optimizer.columns(problem.network.parameters, outputs))
        self.rows: list[list[float]] = []
        self._measures = measures
        self.records: dict[str, list[dict[str, Any]]] = {name: [] for name in measures}
        self._held_out = held_out
        self._wanted = frozenset(snapshots)
        self.snapshots: dict[int, Tensor] = {}
        self._seed = seed
        self._shown = shown
        self.loss = math.nan

    def go_on(self, saved: SavedRun) -> None:
        """Begin with what an earlier part of the run has recorded.

        Rows that a run without a break would not have, or has yet to come to, are left out.
        """
        self.rows, self.snapshots = saved.rows, dict(saved.snapshots)
        for name, records in saved.records.items():
            measurement = self._measures.get(name)
            self.records[name] = [
                record
                for record in records
                if measurement is None
                or (
                    record["iteration"] < saved.train_state.iteration
                    and self._due(measurement, record["iteration"], False)
                )
            ]

    def observe(self, train_state: loop.TrainState, current: loop.Iteration) -> None:
        """Note a row, and measure where that is due."""
        last = current.step is None
        for name, measurement in self._measures.items():
            if self._due(measurement, train_state.iteration, last):
                at = measurement.during(self._optimizer, train_state.iteration)
                place = train_state.theta, train_state.iteration, self._seed
                found = measured(at, self._problem.objective, *place, self._held_out)
                when = {"iteration": train_state.iteration, "flow_time": train_state.flow_time}
                self.records[name].append(when | found)
        if train_state.iteration in self._wanted:
            self.snapshots[train_state.iteration] = train_state.theta.clone()
        if current.step is None:
            self.loss = current.evaluation.loss
            return
        self.rows.append(row_of(train_state, current, self._kinds))
        half = self.rows[train_state.iteration // 2][list(self._kinds).index("loss")]
        self._shown.update(train_state, current, half)

    def _due(self, measurement: Measurement, iteration: int, last: bool) -> bool:
        if measurement.every:
            return iteration % measurement.every == 0
        return last or SNAPSHOTS.wanted(iteration, 0.0, 0.0)

    def trajectory(self) -> pd.DataFrame:
        """The rows with their columns' types."""
        table = np.array(self.rows, dtype=np.float64).reshape(-1, len(self._kinds))
        columns = enumerate(self._kinds.items())
        return pd.DataFrame({name: table[:, at].astype(kind) for at, (name, kind) in columns})

    def frames(self) -> dict[str, pd.DataFrame]:
        """The measurements' records."""
        return {name: pd.DataFrame(records) for name, records in self.records.items()}


class Shown:
    """Progress towards the end of a run, as the workflow shows it; nothing where it is off."""

    def __init__(self, until: loop.StopCriteria, on: bool) -> None:
        self._until = until
        self._bar: Any = None
        if on and math.isfinite(until.loss):
            self._bar = LossProgress("follow", until.loss)
        elif on and math.isfinite(until.flow_time):
            self._bar = count_progress("follow", 100, " %")
        elif on:
            self._bar = count_progress("follow", int(until.iterations), " steps")

    def update(self, train_state: loop.TrainState, current: loop.Iteration, half: float) -> None:
        """Show the newest step; `half` is the loss of half as many steps."""
        if isinstance(self._bar, LossProgress):
            assert current.step is not None
            sharpness = current.step.facts.get("eigenvalue_1")
            self._bar.update(train_state.iteration, current.evaluation.loss, half, sharpness)
        elif self._bar is not None and math.isfinite(self._until.flow_time):
            share = 100 * train_state.flow_time / self._until.flow_time
            self._bar.update(min(share, 100) - self._bar.n)
        elif self._bar is not None:
            self._bar.update(1)

    def close(self) -> None:
        """Take the display away."""
        if self._bar is not None:
            self._bar.close()
