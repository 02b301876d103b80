"""The training loop: reproducible to the bit, through SIGKILL; stopping, step control, files."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from harm import flip, truncate
from oracles import reference_loss
from problems import small_spec
from safetensors.torch import load_file

from eosflow.measurements.decomposition import Decomposition
from eosflow.objectives.mlp import MLPEvaluation
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Batches, FullBatch, Shuffled, WithReplacement
from eosflow.optimizers.flow import RungeKutta4
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.integrators import exponential_euler, stable_step_size
from eosflow.optimizers.loop import TrainState
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.runs import train as training
from eosflow.runs.data import make_objective
from eosflow.runs.measure import measure_run
from eosflow.runs.spec import RunSpec
from eosflow.runs.train import train
from eosflow.runs.trajectory import COLUMNS
from eosflow.spectra.eigenpairs import random_start, top_eigenpairs
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256
from eosflow.storage.tensors import DamagedFile, load_tensors, save_tensors

FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def finished(subset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "init0-subset0"
    train(small_spec(), subset, folder, threads=1)
    return folder


def trajectory(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "trajectory.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def assert_same_run(first: Path, second: Path) -> None:
    """Every number of two runs is the same to the last bit."""
    assert sha256(first / "trajectory.parquet") == sha256(second / "trajectory.parquet")
    manifests = [read_json(folder / "manifest.json") for folder in (first, second)]
    assert manifests[0] == manifests[1]
    for entry in manifests[0]["snapshots"]:
        assert sha256(first / entry["file"]) == sha256(second / entry["file"])


def kill_at(iteration: int, spec: RunSpec, subset: Path, folder: Path) -> None:
    """Start a process that trains, and kill it when its checkpoint is of this iteration or on."""
    often = {"threads": 1, "checkpoint_seconds": 0.0}
    process = FORK.Process(target=train, args=(spec, subset, folder), kwargs=often)
    process.start()
    while checkpoint_iteration(folder) < iteration:
        assert process.is_alive(), "the run ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.join()
    assert not (folder / "manifest.json").exists()


def test_the_flow_lowers_the_loss_to_its_target(finished: Path) -> None:
    record = read_json(finished / "run.json")
    assert torch.backends.cpu.get_cpu_capability() in record["device"]
    rows = trajectory(finished)
    assert record["stopped"] == "target_loss"
    assert record["final_loss"] <= 0.6 < rows["loss"][-1]
    assert (np.diff(rows["loss"]) < 0).all()
    assert (rows["iteration"] == np.arange(record["iterations"])).all()
    np.testing.assert_allclose(np.diff(rows["flow_time"]), rows["step_size"][:-1], rtol=1e-9)
    assert record["flow_time"] == pytest.approx(rows["step_size"].sum())
    assert record["block_products"] == rows["power_iterations"].sum()
    bound = np.minimum(0.2, 1 / np.abs(rows["eigenvalue_7"]))
    accepted = rows["rejected_steps"] == 0
    assert (rows["step_size"][accepted] <= bound[accepted] * (1 + 1e-12)).all()
    assert rows["converged"].mean() > 0.9
    assert (rows["residual"][rows["converged"]] <= 0.01).all()


def test_trajectory_equals_a_plain_loop_of_the_scheme(subset: Path, tmp_path: Path) -> None:
    tight = {"eigen_tolerance": 1e-6, "eigen_dtype": "float64", "max_block_products": 1000}
    spec = small_spec(max_iterations=12, **tight)
    train(spec, subset, tmp_path, threads=1)
    rows = trajectory(tmp_path)
    objective = make_objective(spec, subset, torch.device("cpu"))
    theta = objective.network.initialize(spec.init_seed)
    for iteration in range(12):
        loss = reference_loss(objective, "cross_entropy", theta).item()
        assert rows["loss"][iteration] == pytest.approx(loss, rel=1e-7)
        evaluation = objective.evaluate(theta)
        start = random_start(len(theta), 7, theta, seed=99)
        pairs = top_eigenpairs(evaluation.hessian, start, 1e-8, 2000)
        for number in (1, 7):
            value = pairs.values[number - 1].item()
            assert rows[f"eigenvalue_{number}"][iteration] == pytest.approx(value, rel=1e-5)
        theta = exponential_euler(theta, evaluation.gradient, pairs, stable_step_size(pairs, 0.2))


def test_single_precision_pairs_leave_the_trajectory_where_it_was(
    subset: Path, tmp_path: Path
) -> None:
    rows, products = {}, {}
    for dtype in ("float32", "float64"):
        manifest = train(small_spec(eigen_dtype=dtype), subset, tmp_path / dtype, threads=1)
        rows[dtype] = trajectory(tmp_path / dtype)
        products[dtype] = rows[dtype]["power_iterations"].sum()
        last = tmp_path / dtype / manifest.snapshots[-1].file
        assert all(tensor.dtype == torch.float64 for tensor in load_file(last).values())
    assert products["float32"] == products["float64"]
    single, double = rows["float32"], rows["float64"]
    # Far below the 0.01 that the tolerance leaves open in the pairs, far above round-off.
    assert single["loss"] == pytest.approx(double["loss"], rel=1e-6)
    assert single["eigenvalue_1"] == pytest.approx(double["eigenvalue_1"], rel=1e-5)
    assert (single["loss"] != double["loss"]).any()


def test_snapshots_hold_the_weights_of_their_iteration(finished: Path, subset: Path) -> None:
    spec = small_spec()
    manifest = read_json(finished / "manifest.json")
    iterations = [entry["iteration"] for entry in manifest["snapshots"]]
    last = read_json(finished / "run.json")["iterations"]
    assert iterations == sorted({0, 10, *range(0, last, 20), last})
    objective = make_objective(spec, subset, torch.device("cpu"))
    for entry in manifest["snapshots"]:
        assert entry["file"] == f"snapshots/step{entry['iteration']:06d}.safetensors"
        tensors, metadata = load_tensors(finished / entry["file"])
        assert tensors["layer1.weight"].shape == (8, 16)
        assert tensors["layer1.weight"].dtype == torch.float64
        loss = objective.evaluate(objective.network.flatten(tensors)).loss
        assert loss == metadata["loss"] == entry["loss"]


GRADIENT = GradientDescent(learning_rate=0.02)
SHUFFLED = {"batch": Shuffled(size=5), "target_loss": 1e-9, "max_iterations": 60}
# Every kind of state that a checkpoint must hold: blocks of vectors, buffers, places in a shuffle.
KILLED: dict[str, RunSpec] = {
    "exponential Euler": small_spec(),
    "exponential Rosenbrock": small_spec(optimizer=ExponentialRosenbrock(tolerance=1e-4)),
    "exponential Rosenbrock in the span of few inputs": small_spec(
        optimizer=ExponentialRosenbrock(tolerance=1e-4), n=9
    ),
    "RK4": small_spec(optimizer=RungeKutta4(), target_loss=1e-9, max_iterations=60),
    "SGD": small_spec(optimizer=GRADIENT, **SHUFFLED),
    "Nesterov momentum": small_spec(
        optimizer=GRADIENT.model_copy(update={"momentum": 0.9, "nesterov": True}), **SHUFFLED
    ),
    "Adam": small_spec(
        optimizer=Adam(learning_rate=0.01, warmup_steps=20, drop_at=(40,)), **SHUFFLED
    ),
    "RMSprop": small_spec(
        optimizer=RMSprop(learning_rate=0.01, momentum=0.5, centered=True),
        **(SHUFFLED | {"batch": WithReplacement(size=5)}),
    ),
}


@pytest.mark.parametrize("name", KILLED)
def test_killed_and_started_again_it_is_the_same_to_the_bit(
    name: str, subset: Path, tmp_path: Path
) -> None:
    spec, folder, finished = KILLED[name], tmp_path / "killed", tmp_path / "undisturbed"
    train(spec, subset, finished, threads=1)
    for iteration in (7, 25):  # a kill before and one after the first resume
        kill_at(iteration, spec, subset, folder)
        assert read_json(folder / "run.json")["status"] == "running"
        assert checkpoint_iteration(folder) >= iteration
    train(spec, subset, folder, threads=1)
    assert_same_run(finished, folder)
    # Only a run that was cut off can go on from its end.
    cut_off = spec.target_loss < 1e-6
    assert (folder / "checkpoint.safetensors").exists() == cut_off


@pytest.mark.parametrize(
    ("optimizer", "batch", "seen"),
    [
        (
            ExponentialRosenbrock(tolerance=1e-5),
            FullBatch(),
            ("largest_ritz_value", "error_estimate"),
        ),
        (
            GradientDescent(learning_rate=0.05, momentum=0.5, nesterov=True, clip_norm=1.0),
            Shuffled(size=4),
            ("gradient_norm",),
        ),
    ],
    ids=["flow", "sgd"],
)
def test_trained_in_the_span_of_few_inputs_it_is_the_run_of_the_whole(
    optimizer: Optimizer,
    batch: Batches,
    seen: tuple[str, ...],
    subset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nine examples of sixteen numbers: the first layer is trained in nine coordinates.
    spec = small_spec(optimizer=optimizer, batch=batch, n=9, every=1)
    train(spec, subset, tmp_path / "span", threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(type(optimizer), "rotation_equivariant", False)
        train(spec, subset, tmp_path / "whole", threads=1)
    found, whole = (trajectory(tmp_path / name) for name in ("span", "whole"))
    assert len(found["loss"]) > 20
    for column in ("loss", "flow_time", *seen):
        np.testing.assert_allclose(found[column], whole[column], rtol=1e-6)
    entries = read_json(tmp_path / "span" / "manifest.json")["snapshots"]
    assert len(entries) == len(found["loss"]) + 1
    for entry in entries:
        held, _ = load_tensors(tmp_path / "span" / entry["file"])
        expected, _ = load_tensors(tmp_path / "whole" / entry["file"])
        assert held.keys() == expected.keys()
        for tensor, weights in held.items():
            torch.testing.assert_close(weights, expected[tensor], rtol=1e-6, atol=1e-8)


def checkpoint_iteration(folder: Path) -> int:
    try:
        return int(load_tensors(folder / "checkpoint.safetensors")[1]["iteration"])
    except DamagedFile:
        return -1


def test_a_larger_bound_on_iterations_continues(
    finished: Path, subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off, longer = tmp_path / "cut-off", tmp_path / "longer"
    train(small_spec(max_iterations=15), subset, cut_off, threads=1)
    assert read_json(cut_off / "run.json")["stopped"] == "max_iterations"
    first_iterations = []
    follow = training.follow

    def watch(*arguments: Any) -> str:
        first_iterations.extend(a.iteration for a in arguments if isinstance(a, TrainState))
        return follow(*arguments)

    monkeypatch.setattr(training, "follow", watch)
    train(small_spec(), subset, longer, threads=1)
    assert first_iterations == [15]
    assert_same_run(finished, longer)  # without the snapshot of iteration 15
    assert read_json(cut_off / "run.json")["stopped"] == "max_iterations"  # it stays as it was


def test_a_damaged_snapshot_is_named_and_made_again(
    finished: Path, subset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(small_spec(), subset, tmp_path, threads=1)
    path = tmp_path / "snapshots" / "step000010.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="step000010"):
        measure_run(tmp_path, subset, Decomposition())
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == content and not path.exists()
    assert "step000010" in caplog.text
    train(small_spec(), subset, tmp_path, threads=1)
    assert_same_run(finished, tmp_path)
    assert measure_run(tmp_path, subset, Decomposition())[0].snapshots


@pytest.mark.parametrize("what", ["weights", "rows", "snapshots", "data", "truncated", "flipped"])
def test_a_checkpoint_that_is_damaged_or_does_not_fit_is_not_believed(
    what: str, finished: Path, subset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(small_spec(max_iterations=15), subset, tmp_path, threads=1)
    path = tmp_path / "checkpoint.safetensors"
    tensors, metadata = load_tensors(path)
    if what == "weights":
        tensors["theta"] = tensors["theta"][:-1]
    elif what == "rows":
        tensors["rows"] = tensors["rows"].bfloat16()[:, :-1]
    else:
        metadata[what] = [] if what == "snapshots" else 5
    save_tensors(path, tensors, metadata)
    if what in ("truncated", "flipped"):
        (truncate if what == "truncated" else flip)(path)
    train(small_spec(), subset, tmp_path, threads=1)
    assert path.name in caplog.text
    assert_same_run(finished, tmp_path)


def test_another_target_loss_is_another_run_that_goes_on_from_nothing(
    subset: Path, tmp_path: Path
) -> None:
    first, second = (small_spec(target_loss=loss) for loss in (1.0, 1.5))
    for spec in (first, second):
        train(spec, subset, tmp_path / spec.key, threads=1)
    assert first.trajectory_key == second.trajectory_key and first.key != second.key
    long, short = (trajectory(tmp_path / spec.key)["loss"] for spec in (first, second))
    assert len(short) < len(long) and (long[: len(short)] == short).all()


def manifest_of(folder: Path) -> list[dict[str, Any]]:
    return list(read_json(folder / "manifest.json")["snapshots"])


def test_a_run_that_cannot_lower_its_loss_is_reported_as_diverged(
    subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MLPEvaluation.__init__

    def infinite_after_ten(self: MLPEvaluation, *args: object) -> None:
        real(self, *args)  # type: ignore[arg-type]
        infinite_after_ten.calls += 1  # type: ignore[attr-defined]
        if infinite_after_ten.calls > 10:  # type: ignore[attr-defined]
            self.loss = math.nan

    infinite_after_ten.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(MLPEvaluation, "__init__", infinite_after_ten)
    manifest = train(small_spec(), subset, tmp_path, threads=1)
    record = read_json(tmp_path / "run.json")
    assert manifest.stopped == record["stopped"] == "diverged"
    assert record["iterations"] == 9
    assert math.isfinite(record["final_loss"])
    assert len(trajectory(tmp_path)["loss"]) == 9


def test_a_subset_of_another_size_is_refused(subset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dice-subset0\.npz.*16.*1024"):
        train(small_spec(image_size=32), subset, tmp_path, threads=1)


def test_batches_are_looked_at_as_a_whole_once_an_epoch(subset: Path, tmp_path: Path) -> None:
    """The target loss is that of all examples, and so is the loss of every snapshot."""
    spec = small_spec(optimizer=GRADIENT, batch=Shuffled(size=5), target_loss=1.5, every=3)
    train(spec, subset, tmp_path, threads=1)
    record = read_json(tmp_path / "run.json")
    assert record["stopped"] == "target_loss" and record["final_loss"] <= 1.5
    assert record["iterations"] % 5 == 0  # 21 examples in batches of 5 are five steps an epoch
    objective = make_objective(spec, subset, torch.device("cpu"))
    for entry in manifest_of(tmp_path):
        tensors, _ = load_tensors(tmp_path / entry["file"])
        whole = objective.evaluate(objective.network.flatten(tensors))
        assert entry["loss"] == pytest.approx(whole.loss, rel=1e-12)
    rows = trajectory(tmp_path)
    assert set(rows) == {*COLUMNS, "learning_rate", "gradient_norm"}
    assert (np.diff(rows["loss"]) > 0).any()  # batches differ, and no step is taken back
