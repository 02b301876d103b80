"""Training along the gradient flow: prepare, observe, advance; snapshots, checkpoint, resume."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.objectives.mlp import Linearization, Objective
from eosflow.optimizers.integrators import INTEGRATORS, stable_step_size
from eosflow.runs.folder import RunFolder, make_objective
from eosflow.runs.progress import LossProgress
from eosflow.runs.spec import RunSpec
from eosflow.spectra.eigenpairs import EigenPairs, Workspace, random_start, top_eigenpairs
from eosflow.storage.files import sha256, write_json
from eosflow.storage.provenance import versions

CHECKPOINT_SECONDS = 120.0
# The first block starts from noise; the bound on products is this much wider there.
FIRST_STEP_FACTOR = 10
# A step that raises the loss is halved this often before the run counts as diverged.
MAX_HALVINGS = 40

log = logging.getLogger(__name__)


@dataclass
class State:
    """All that the next step depends on; a checkpoint holds exactly this.

    `start` (P, K+1) starts the next eigenpairs, `previous` (P, K+1) holds the last vectors;
    `step_limit` is the step size that a rejected step left behind; `rows` is the trajectory so
    far, one list of numbers an iteration; `snapshots` the manifest's entries so far.
    """

    theta: Tensor
    start: Tensor
    previous: Tensor | None = None
    iteration: int = 0
    flow_time: float = 0.0
    step_limit: float = math.inf
    seconds: float = 0.0
    rows: list[list[float]] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Observation:
    """One iteration as the observers see it: the point, its eigenpairs, and the accepted step."""

    linearization: Linearization
    pairs: EigenPairs
    step_size: float
    rejected: int


def columns(eigenvalues: int) -> list[str]:
    """Names of the trajectory's columns, for K+1 tracked eigenvalues."""
    return [
        "iteration",
        "flow_time",
        "step_size",
        "loss",
        "train_accuracy",
        *(f"eigenvalue_{m}" for m in range(1, eigenvalues + 1)),
        "residual",
        "power_iterations",
        "converged",
        "rejected_steps",
        "negative_dominant",
    ]


def initial_state(spec: RunSpec, objective: Objective) -> State:
    """θ at iteration 0 and a random block to start the eigenpairs from."""
    theta = objective.network.initialize(spec.init_seed, spec.gain).to(objective.inputs)
    tracked = min(spec.dimensions[-1] + 1, len(theta))
    like = theta.new_empty(0, dtype=getattr(torch, spec.eigen_dtype))
    return State(theta=theta, start=random_start(len(theta), tracked, like, spec.init_seed))


def prepare(spec: RunSpec, state: State, point: Linearization, workspace: Workspace) -> EigenPairs:
    """The top K+1 eigenpairs of 𝓗 at the point, K = C."""
    limit = spec.max_block_products * (FIRST_STEP_FACTOR if state.iteration == 0 else 1)
    return top_eigenpairs(point.hessian, state.start, spec.eigen_tolerance, limit, workspace)


def advance(
    spec: RunSpec, state: State, objective: Objective, point: Linearization, pairs: EigenPairs
) -> tuple[Linearization | None, float, int]:
    """Step to the next point: (its linearization, η, rejected tries); None if it diverged.

    The flow never raises the loss. A step that does is an error of the discretisation, seen in the
    first iterations of stiff problems, and is taken again with half the step size.
    """
    step_size = min(stable_step_size(pairs, spec.max_step_size), state.step_limit)
    step = INTEGRATORS[spec.integrator]

    def gradient_at(theta: Tensor) -> Tensor:
        between = objective.linearize(theta)
        between.release()
        return between.gradient

    for rejected in range(MAX_HALVINGS + 1):
        theta = step(state.theta, point.gradient, pairs, step_size, gradient_at)
        if math.isfinite(theta.sum().item()):  # in one pass; any inf or nan shows in the sum
            following = objective.linearize(theta)
            if following.loss <= point.loss:
                return following, step_size, rejected
            following.release()
        step_size /= 2
    return None, step_size, MAX_HALVINGS


def follow(
    spec: RunSpec,
    objective: Objective,
    state: State,
    observe: Callable[[State, Observation | None, Linearization], None],
) -> str:
    """Run the loop from `state` until it stops; returns why.

    `observe(state, observation, point)` is called once an iteration with the point and the step
    taken from it, and at the end with None for the step.
    """
    point = objective.linearize(state.theta)
    workspace = Workspace(len(state.theta), state.start.shape[1], state.start)
    while True:
        if not math.isfinite(point.loss):
            return "diverged"
        if point.loss <= spec.target_loss or state.iteration >= spec.max_iterations:
            observe(state, None, point)
            return "target_loss" if point.loss <= spec.target_loss else "max_iterations"
        pairs = prepare(spec, state, point, workspace)
        following, step_size, rejected = advance(spec, state, objective, point, pairs)
        if following is None:
            observe(state, None, point)
            return "diverged"
        observe(state, Observation(point, pairs, step_size, rejected), point)
        state.theta = following.theta
        pairs.warm_start(state.previous, out=state.start)
        state.previous = workspace.exchange(state.previous)
        state.step_limit = 2 * step_size if rejected or step_size == state.step_limit else math.inf
        state.flow_time += step_size
        state.iteration += 1
        point.release()
        point = following


def row_of(state: State, observation: Observation) -> list[float]:
    """One row of the trajectory, in the order of `columns`."""
    pairs = observation.pairs
    eigenvalues = pairs.values.tolist()
    return [
        state.iteration,
        state.flow_time,
        observation.step_size,
        observation.linearization.loss,
        observation.linearization.accuracy,
        *eigenvalues,
        pairs.relative_residual,
        pairs.applications,
        pairs.converged,
        observation.rejected,
        -pairs.smallest > eigenvalues[0],
    ]


def train(
    spec: RunSpec,
    subset_path: Path,
    folder: Path,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, Any]:
    """Train one run into its folder, continuing from its checkpoint; returns the manifest.

    Same specification, device and number of threads: the same trajectory to the last bit, also
    through any number of interruptions. A run of another specification in the folder is set aside.

    Raises: UserError where the subset cannot serve the run.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    files = RunFolder(folder, spec)
    folder.mkdir(parents=True, exist_ok=True)
    files.set_aside_other()
    manifest = files.finished()
    if manifest is None:
        manifest = _Recorder(spec, files, subset_path, torch.device(device)).run(checkpoint_seconds)
    else:
        log.info("%s is finished already", folder)
    write_json(folder / "manifest.json", manifest)
    return manifest


class _Recorder:
    """The observer that fills a run's folder."""

    def __init__(
        self, spec: RunSpec, files: RunFolder, subset_path: Path, device: torch.device
    ) -> None:
        self.spec = spec
        self.files = files
        self.objective = make_objective(spec, subset_path, device)
        self.record: dict[str, Any] = {
            "spec": spec.to_record(),
            "key": spec.key,
            "trajectory_key": spec.trajectory_key,
            "status": "running",
            "parameters": spec.parameters,
            "device": _device_name(device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "subset": {"file": subset_path.name, "sha256": sha256(subset_path)},
        }
        self._final_loss: float | None = None

    def run(self, checkpoint_seconds: float) -> dict[str, Any]:
        """Train to the end; returns the manifest, which run.json holds too."""
        state = self._resume() or initial_state(self.spec, self.objective)
        self.files.write_record(self.record)
        progress = LossProgress(str(self.spec.folder), self.spec.target_loss)
        started, last_checkpoint = time.monotonic() - state.seconds, time.monotonic()

        def observe(state: State, observation: Observation | None, point: Linearization) -> None:
            nonlocal last_checkpoint
            self._save_snapshot(state, point, last=observation is None)
            state.seconds = time.monotonic() - started
            if observation is None:
                self._final_loss = point.loss
                return
            # Before this iteration's row is added: a checkpoint is the state before its step.
            if time.monotonic() - last_checkpoint >= checkpoint_seconds:
                self._save_checkpoint(state)
                last_checkpoint = time.monotonic()
            state.rows.append(row_of(state, observation))
            losses = (point.loss, state.rows[state.iteration // 2][3])
            progress.update(state.iteration, *losses, observation.pairs.values[0].item())

        try:
            stopped = follow(self.spec, self.objective, state, observe)
        finally:
            progress.close()
        return self._finish(state, stopped)

    def _resume(self) -> State | None:
        checkpoint = self.files.load_checkpoint()
        if checkpoint is None:
            return None
        tensors, metadata = checkpoint
        log.info("%s continues from iteration %d", self.files.path, metadata["iteration"])
        # The last snapshot of a run that was cut off is one only if it would have been anyway.
        kept = [entry for entry in metadata["snapshots"] if self._regular(entry["iteration"])]
        return State(
            theta=tensors["theta"].to(self.objective.inputs.device),
            start=tensors["start"].to(self.objective.inputs.device).T,
            previous=tensors["previous"].to(self.objective.inputs.device).T
            if "previous" in tensors
            else None,
            rows=tensors["rows"].tolist(),
            step_limit=metadata["step_limit"] or math.inf,
            snapshots=kept,
            **{name: metadata[name] for name in ("iteration", "flow_time", "seconds")},
        )

    def _save_checkpoint(self, state: State) -> None:
        width = len(columns(state.start.shape[1]))
        rows = torch.tensor(state.rows, dtype=torch.float64).reshape(-1, width)
        names = ("iteration", "flow_time", "seconds", "snapshots")
        metadata = {name: getattr(state, name) for name in names}
        metadata["step_limit"] = state.step_limit if math.isfinite(state.step_limit) else None
        tensors = {"theta": state.theta, "start": state.start.T, "rows": rows}
        if state.previous is not None:
            tensors["previous"] = state.previous.T
        self.files.save_checkpoint(tensors, metadata)

    def _regular(self, iteration: int) -> bool:
        return iteration % self.spec.snapshot_every == 0 or iteration in self.spec.snapshot_also

    def _save_snapshot(self, state: State, point: Linearization, last: bool) -> None:
        saved = {entry["iteration"] for entry in state.snapshots}
        if state.iteration in saved or not (last or self._regular(state.iteration)):
            return
        tensors = self.objective.network.named(state.theta)
        place = (state.iteration, state.flow_time, point.loss)
        state.snapshots.append(self.files.save_snapshot(tensors, *place))

    def _finish(self, state: State, stopped: str) -> dict[str, Any]:
        if stopped == "max_iterations":
            self._save_checkpoint(state)  # a larger max_iterations goes on from here
        names = columns(state.start.shape[1])
        trajectory = self.files.save_trajectory(names, state.rows)
        manifest = {
            "key": self.spec.key,
            "stopped": stopped,
            "trajectory": trajectory,
            "snapshots": state.snapshots,
        }
        self.record |= {
            "status": "finished",
            "stopped": stopped,
            "iterations": state.iteration,
            "flow_time": state.flow_time,
            "final_loss": self._final_loss,
            "seconds": state.seconds,
            "block_products": int(sum(row[names.index("power_iterations")] for row in state.rows)),
            "manifest": manifest,
        }
        self.files.write_record(self.record)
        if stopped != "max_iterations":
            self.files.remove_checkpoint()
        return manifest


def _device_name(device: torch.device) -> str:
    """A GPU's model; a processor's, and its instruction set, on which the last bits depend."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")  # Linux; Python itself knows no model there
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(models), platform.processor() or platform.machine())
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
