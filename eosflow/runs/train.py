"""Train one run into its folder: rows of the trajectory, snapshots, checkpoint, resume."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.objectives.input_span import input_span
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.runs.data import load_data
from eosflow.runs.folder import CHECKPOINT, PROGRESS, Checkpoint, RunFolder
from eosflow.runs.progress import LossProgress
from eosflow.runs.records import Manifest, RunRecord, Sitting, Snapshot
from eosflow.runs.session import NAMES, session
from eosflow.runs.spec import RunSpec
from eosflow.runs.trajectory import columns, row_of
from eosflow.runs.whole import CLEANED
from eosflow.storage.errors import UserError
from eosflow.storage.files import remove_leftovers, set_aside

CHECKPOINT_SECONDS = 120.0
log = logging.getLogger(__name__)


def train(
    spec: RunSpec,
    subset_path: Path,
    folder: Path,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Manifest:
    """Train one run into its folder, continuing from its checkpoint; returns the manifest.

    Same specification, device and number of threads: the same trajectory to the last bit, also
    through any number of interruptions. What is damaged in the folder is moved aside.

    Ctrl-C leaves a checkpoint of the iteration it came in, and a line that says so.

    Raises: UserError if the subset cannot serve the run, or is not the one that the checkpoint
    was made on.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    files = RunFolder(folder, spec)
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder, folder / "snapshots"):
        remove_leftovers(place)
    manifest = files.finished()
    if manifest is None:
        manifest = _Recorder(spec, files, subset_path, torch.device(device)).run(checkpoint_seconds)
        for note in (CLEANED, PROGRESS):
            (folder / note).unlink(missing_ok=True)
    else:
        log.info("%s is finished already", spec.folder)
    return manifest


class _Recorder:
    """The observer that fills a run's folder."""

    def __init__(
        self, spec: RunSpec, files: RunFolder, subset_path: Path, device: torch.device
    ) -> None:
        self.spec = spec
        self.files = files
        self.columns = columns(spec)
        data = load_data(spec, subset_path)
        self.whole = data.objective(spec, device)
        self._start = self.whole.network.initialize(spec.init_seed).to(self.whole.inputs)
        self._span = input_span(self.whole) if spec.optimizer.rotation_equivariant else None
        self.objective = self._span.objective if self._span else self.whole
        self.rows: list[list[float]] = []
        self.snapshots: list[Snapshot] = []
        self._latest: TrainState | None = None
        now = session(device)
        self.record: dict[str, Any] = {
            "spec": spec.to_record(),
            "key": spec.key,
            "trajectory_key": spec.trajectory_key,
            "status": "running",
            "parameters": spec.parameters,
            **now,
            "sittings": [{"from_iteration": 0, **now}],
            "subset": data.record(),
        }
        self._seconds = 0.0
        self._final_loss: float | None = None

    def run(self, checkpoint_seconds: float) -> Manifest:
        """Train to the end; returns the manifest."""
        train_state = self._resume() or self._begin()
        self._write_record()
        progress = LossProgress(
            str(self.spec.folder),
            self.spec.target_loss,
            last=self.spec.stop.max_iterations,
            steps_grow=self.spec.optimizer.lands_on_target,
            save=self.files.save_progress,
        )
        started, last_checkpoint = time.monotonic() - self._seconds, time.monotonic()

        def observe(train_state: TrainState, current: Iteration) -> None:
            nonlocal last_checkpoint
            self._latest = dataclasses.replace(train_state)
            self._save_snapshot(train_state, current)
            self._seconds = time.monotonic() - started
            if current.step is None:
                self._final_loss = current.evaluation.loss
                return
            # Before this iteration's row is added: a checkpoint is the train_state before its step.
            if time.monotonic() - last_checkpoint >= checkpoint_seconds:
                self._save_checkpoint(train_state)
                last_checkpoint = time.monotonic()
            self.rows.append(row_of(train_state, current, self.columns))
            half = self.rows[train_state.iteration // 2][list(self.columns).index("loss")]
            sharpness = current.step.facts.get("eigenvalue_1")
            progress.update(train_state.iteration, current.evaluation.loss, half, sharpness)

        goal = -math.inf if self.spec.target_loss is None else self.spec.target_loss
        until = StopCriteria(goal, self.spec.stop.max_iterations)
        parts = self.objective, self.spec.optimizer, self.spec.batch
        try:
            stopped = follow(*parts, train_state, until, observe)
        except KeyboardInterrupt:
            self._save_latest()
            raise
        finally:
            progress.close()
        return self._finish(train_state, stopped)

    def _write_record(self) -> None:
        RunRecord.model_validate(self.record).write(self.files.path / "run.json")

    def _begin(self) -> TrainState:
        parts = self.objective, self.spec.optimizer, self.spec.batch
        return begin(*parts, self._first_theta(), self.spec.init_seed)

    def _first_theta(self) -> Tensor:
        return self._span.project(self._start) if self._span else self._start

    def _resume(self) -> TrainState | None:
        loaded = self.files.load_checkpoint()
        if loaded is None:
            return None
        tensors, checkpoint = loaded
        first, rows = self._first_theta(), tensors.pop("rows", torch.empty(0))
        theta = tensors.get("theta", rows)
        fits = (theta.shape, theta.dtype) == (first.shape, first.dtype)
        if not fits or rows.shape != (checkpoint.iteration, len(self.columns)):
            set_aside(self.files.path / CHECKPOINT, "other-run")
            return None
        self._check_data(checkpoint)
        self._add_sitting(checkpoint)
        log.info("%s continues from iteration %d", self.spec.folder, checkpoint.iteration)
        # The last snapshot of a run that was cut off is one only if it would have been anyway.
        for entry in checkpoint.snapshots:
            if self._wanted(entry.iteration, entry.flow_time):
                self.snapshots.append(entry)
        self.rows = rows.tolist()
        self._seconds = checkpoint.seconds
        device = self.objective.inputs.device
        placed = {name: tensor.to(device) for name, tensor in tensors.items()}
        return TrainState(
            theta=placed["theta"],
            optimizer=_under("optimizer.", placed) | checkpoint.optimizer,
            batch=_under("batch.", placed) | checkpoint.batch,
            iteration=checkpoint.iteration,
            flow_time=checkpoint.flow_time,
        )

    def _check_data(self, checkpoint: Checkpoint) -> None:
        """Refuse to go on with other examples than those that the checkpoint was made on."""
        now = self.record["subset"]
        if checkpoint.data.get("rows_sha256") != now["rows_sha256"]:
            raise UserError(
                f"{now['file']} does not hold the examples that {self.files.path} was trained on "
                f"until iteration {checkpoint.iteration}. Put the former file back to go on, or "
                f"delete {self.files.path} to train this run again on the examples there are now."
            )

    def _add_sitting(self, checkpoint: Checkpoint) -> None:
        """Note in run.json that the run goes on with other versions, threads or device, if so."""
        (now,) = self.record["sittings"]
        last = checkpoint.sittings[-1].model_dump()
        sittings = list(checkpoint.sittings)
        if changed := [name for name in NAMES if last[name] != now[name]]:
            log.warning(
                "%s continues with other %s: the last bits of its numbers may depend on that",
                *(self.spec.folder, ", ".join(changed)),
            )
            sittings.append(Sitting(**{**now, "from_iteration": checkpoint.iteration}))
        self.record["sittings"] = sittings

    def _save_latest(self) -> None:
        """A checkpoint of the iteration that was interrupted, before its step."""
        train_state = self._latest
        if train_state is None:
            return
        del self.rows[train_state.iteration :]
        self._save_checkpoint(train_state)
        log.warning(
            "%s was interrupted and goes on from iteration %d when it is started again",
            *(self.spec.folder, train_state.iteration),
        )

    def _save_checkpoint(self, train_state: TrainState) -> None:
        rows = torch.tensor(self.rows, dtype=torch.float64).reshape(-1, len(self.columns))
        tensors = {"theta": train_state.theta, "rows": rows}
        plain: dict[str, dict[str, Any]] = {}
        for part, state in (("optimizer", train_state.optimizer), ("batch", train_state.batch)):
            held = {name: value for name, value in state.items() if isinstance(value, Tensor)}
            tensors |= {f"{part}.{name}": value for name, value in held.items()}
            plain[part] = {name: state[name] for name in state if name not in held}
        checkpoint = Checkpoint(
            trajectory_key=self.spec.trajectory_key,
            iteration=train_state.iteration,
            flow_time=train_state.flow_time,
            seconds=self._seconds,
            snapshots=tuple(self.snapshots),
            data=self.record["subset"],
            sittings=self.record["sittings"],
            **plain,
        )
        self.files.save_checkpoint(tensors, checkpoint)

    def _wanted(self, iteration: int, flow_time: float) -> bool:
        last = self.snapshots[-1].flow_time if self.snapshots else -math.inf
        return self.spec.snapshots.wanted(iteration, flow_time, last)

    def _save_snapshot(self, train_state: TrainState, current: Iteration) -> None:
        saved = {entry.iteration for entry in self.snapshots}
        last = current.step is None
        if train_state.iteration in saved:
            return
        if not (last or self._wanted(train_state.iteration, train_state.flow_time)):
            return
        loss = current.evaluation.loss
        if not current.whole:
            whole = self.objective.evaluate(train_state.theta)
            loss = whole.loss
        theta = self._span.lift(train_state.theta, self._start) if self._span else train_state.theta
        tensors = self.whole.network.named(theta)
        place = (train_state.iteration, train_state.flow_time, loss)
        self.snapshots.append(self.files.save_snapshot(tensors, *place))

    def _finish(self, train_state: TrainState, stopped: str) -> Manifest:
        if stopped == "max_iterations":
            self._save_checkpoint(train_state)  # a larger max_iterations goes on from here
        trajectory = self.files.save_trajectory(self.columns, self.rows)
        known = {"key": self.spec.key, "stopped": stopped, "trajectory": trajectory}
        manifest = Manifest.model_validate({**known, "snapshots": self.snapshots})
        self.record |= {
            "status": "finished",
            "stopped": stopped,
            "manifest": manifest.model_dump(mode="json"),
            "iterations": train_state.iteration,
            "flow_time": train_state.flow_time,
            "final_loss": self._final_loss,
            "seconds": self._seconds,
            "block_products": self._total("power_iterations"),
        }
        self._write_record()
        manifest.write(self.files.path / "manifest.json")
        if stopped != "max_iterations":
            self.files.remove_checkpoint()
        return manifest

    def _total(self, column: str) -> int:
        names = list(self.columns)
        return sum(int(row[names.index(column)]) for row in self.rows) if column in names else 0


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
