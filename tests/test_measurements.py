"""Measurements give the same numbers while training goes on and from a stored snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import dense_hessian
from problems import small_problem, small_spec

from eosflow.measurements import MEASUREMENTS
from eosflow.measurements.base import Measurement
from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.runs.data import make_objective
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder
from eosflow.runs.train import train
from eosflow.storage.columns import types_of
from eosflow.storage.files import read_json
from eosflow.storage.tensors import load_tensors


@pytest.fixture(scope="module")
def trained(subset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of thirty steps, whose snapshots each measurement reads."""
    folder = tmp_path_factory.mktemp("run")
    train(small_spec(max_iterations=30), subset, folder, threads=1)
    return folder


# One with held-out examples takes a file more: tests/test_studies_of_runs.py.
@pytest.mark.registry
@pytest.mark.parametrize(
    "name", [n for n, k in MEASUREMENTS.items() if not k.example().held_out_examples]
)
def test_online_and_from_a_snapshot_the_numbers_are_the_same(
    name: str, subset: Path, trained: Path
) -> None:
    spec = small_spec(max_iterations=30)
    # Along the flow a learning rate must be given.
    measurement = MEASUREMENTS[name].example().during(GradientDescent.example(), 0)
    measure_run(trained, subset, measurement)
    objective = make_objective(spec, subset, torch.device("cpu"))
    online: dict[int, dict[str, Any]] = {}

    def observe(train_state: TrainState, current: Iteration) -> None:
        # In the middle of the loop, with the optimizer's own blocks and buffers in use.
        if train_state.iteration in (0, 10, 20):
            theta, seed = train_state.theta, spec.init_seed
            online[train_state.iteration] = measurement.measure(
                objective, theta, train_state.iteration, seed
            )

    start, until = objective.network.initialize(spec.init_seed), StopCriteria(iterations=30)
    train_state = begin(objective, spec.optimizer, spec.batch, start, spec.init_seed)
    follow(objective, spec.optimizer, spec.batch, train_state, until, observe)
    folder = trained / measured_folder(measurement)
    for iteration, numbers in online.items():
        stored = read_json(folder / f"step{iteration:06d}.json")
        assert {key: stored[key] for key in numbers} == numbers
        assert set(types_of(measurement.columns(spec.outputs))) <= set(numbers)
    # To be looked at changes nothing.
    unseen, _ = load_tensors(trained / "snapshots" / "step000030.safetensors")
    assert torch.equal(train_state.theta, objective.network.flatten(unseen))


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton", "residual"])
def test_top_eigenvalues_equal_those_of_dense_matrices(matrix: str) -> None:
    objective, theta = small_problem("cross_entropy")
    evaluation = objective.evaluate(theta)
    dense = evaluation.product(matrix, torch.eye(len(theta), dtype=torch.float64))
    if matrix == "hessian":
        torch.testing.assert_close(dense, dense_hessian(objective, "cross_entropy", theta))
    expected = torch.linalg.eigvalsh(dense).flip(0)[:4]
    record = TopEigenvalues(k=4, matrix=matrix, tolerance=1e-8).measure(objective, theta, 7, 0)
    values = [record[f"eigenvalue_{m}"] for m in range(1, 5)]
    actual = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-10)
    assert record["converged"]
    assert all(0 <= record[f"residual_{m}"] <= 1e-8 for m in range(1, 5))
    coarse = TopEigenvalues(k=4, matrix=matrix, tolerance=0.9).measure(objective, theta, 7, 0)
    other = TopEigenvalues(k=4, matrix=matrix, tolerance=0.9).measure(objective, theta, 8, 0)
    assert coarse["eigenvalue_2"] != other["eigenvalue_2"]  # streams of their own


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton", "residual"])
def test_top_eigenvalues_of_few_examples_are_those_beyond_their_span_too(matrix: str) -> None:
    """The zeros beyond the span of the inputs come before what is negative within it."""
    whole, theta = small_problem("cross_entropy")
    objective = whole.batch(torch.arange(3))
    assert objective.inputs.shape[1] > 3
    dense = objective.evaluate(theta).product(matrix, torch.eye(len(theta)).to(theta))
    all_of_them = torch.linalg.eigvalsh(dense).flip(0)
    count = int((all_of_them > 1e-6).sum())
    for k in (2, count + 2):
        record = TopEigenvalues(k=k, matrix=matrix, tolerance=1e-6).measure(objective, theta, 0, 0)
        assert record["converged"]
        values = torch.tensor([record[f"eigenvalue_{m + 1}"] for m in range(k)]).to(theta)
        torch.testing.assert_close(values, all_of_them[:k], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (TopEigenvalues(k=2), TopEigenvalues(k=3), False),
        (TopEigenvalues(k=2), TopEigenvalues(k=2, every=20), False),
        (Decomposition(), Decomposition(), True),
    ],
)
def test_other_settings_are_measured_into_another_folder(
    before: Measurement, after: Measurement, same: bool, subset: Path, tmp_path: Path
) -> None:
    train(small_spec(max_iterations=30), subset, tmp_path, threads=1)
    measure_run(tmp_path, subset, before)
    (path,) = tmp_path.rglob("step000020.json")
    known = path.read_bytes()
    (index,) = measure_run(tmp_path, subset, after)
    assert (measured_folder(before) == measured_folder(after)) == same
    assert path.read_bytes() == known
    iterations = [entry.iteration for entry in index.snapshots]
    assert iterations == ([0, 20] if after.every else [0, 10, 20, 30])
