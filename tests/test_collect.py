"""Records become frames, whatever the network and the optimizer; damaged records are named."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from harm import flip

from eosflow.results import collect
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json


@pytest.fixture(autouse=True)
def words():
    with synthetic.described():
        yield


@pytest.fixture
def folders(tmp_path):
    paths = []
    for init in (0, 1):
        rows, row = synthetic.run("dice-ce", 468, init)
        paths.append(tmp_path / row["key"])
        synthetic.write_run_folder(paths[-1], rows, row)
    return paths


def test_collect_reads_back_what_the_runs_wrote(folders):
    decomposition, runs = collect.collect(folders, "decomposition")
    expected, _ = synthetic.frames(["dice-ce"], seeds=2)
    chosen = (expected["n"] == 468) & (expected["subset_seed"] == 0)
    pd.testing.assert_frame_equal(
        decomposition.sort_index(axis=1), expected[chosen].reset_index(drop=True).sort_index(axis=1)
    )
    assert list(runs.columns) == collect.RUN_COLUMNS
    assert runs["init_seed"].tolist() == [0, 1]
    assert runs["stopped"].tolist() == ["target_loss", "target_loss"]
    unknown = set(runs.columns[runs.isna().all()])
    assert unknown == {
        "dataset_title",
        "changed",
        "commit",
    }  # no column is described and not filled


def test_run_rows_sum_up_the_trajectory_and_leave_the_transient_apart(folders):
    decomposition, runs = collect.collect(folders, "decomposition")
    run = runs.iloc[0]
    highest = decomposition[decomposition["init_seed"] == 0].query("iteration >= 10")
    # The trajectory was written with λ₁ = max − iteration/10⁶, and 10⁶ before iteration 10.
    assert run["max_sharpness"] == pytest.approx(highest["sharpness_hessian"].max() - 1e-5)
    assert run["rejected_steps"] == 4
    assert run["unconverged_iterations"] == 1
    assert run["negative_dominant_iterations"] == 3
    assert run["negative_dominant_after_transient"] == 1
    assert run["iterations_after_transient"] == run["iterations"] - 10
    assert run["max_residual"] == 0.005


def test_what_an_optimizer_does_not_record_is_no_evidence(tmp_path):
    rows, row = synthetic.run("iris-gd", 30)
    row |= synthetic.GRADIENT_DESCENT | {"dataset_title": "Iris flowers", "batch": "batches of 8"}
    synthetic.write_run_folder(tmp_path / "gd", rows, row, eigenpairs=False)
    synthetic.write_run_folder(tmp_path / "flow", *synthetic.run("dice-ce", 468))
    _, runs = collect.collect([tmp_path / "gd", tmp_path / "flow"], "decomposition")
    found, flow = runs.to_dict("records")
    counters = ("rejected_steps", "unconverged_iterations", "negative_dominant_iterations")
    assert all(found[name] == 0 for name in counters)
    assert found["iterations_after_transient"] == 0 < flow["iterations_after_transient"]
    assert np.isnan(found["max_sharpness"]) and np.isnan(found["max_residual"])
    assert found["optimizer"] == row["optimizer"] and found["batch"] == "batches of 8"
    assert (found["dataset"], found["dataset_title"]) == ("iris", "Iris flowers")
    assert flow["network"] == "6 affine layers of width 64, elu"
    assert pd.isna(flow["dataset_title"])
    runs.to_parquet(tmp_path / "runs.parquet")


def test_runs_without_a_decomposition_are_in_the_runs_alone(folders):
    shutil.rmtree(folders[1] / "decomposition")
    decomposition, runs = collect.collect(folders, None)
    assert decomposition.empty and runs["init_seed"].tolist() == [0, 1]
    with pytest.raises(UserError, match=r"index\.json \(missing\)"):
        collect.collect(folders, "decomposition")


def values(iteration):
    return {"iteration": iteration, "flow_time": 0.5, "value_10": 1.0, "value_2": 2.0, "a": 3}


def test_a_measurement_has_a_row_per_snapshot(folders):
    for folder in folders:
        synthetic.write_measurement(folder, "measurements/top", [values(0), values(100)])
    frame = collect.collect_measurement(folders, "measurements/top")
    assert list(frame.columns) == [
        *("experiment", "dataset", "criterion", "n", "init_seed", "subset_seed"),
        *("iteration", "flow_time", "a", "value_2", "value_10"),
    ]
    assert frame["iteration"].tolist() == [0, 100, 0, 100]
    assert frame["init_seed"].tolist() == [0, 0, 1, 1] and set(frame["dataset"]) == {"dice"}
    (folders[1] / "measurements/top/step000100.json").write_text("{}")
    with pytest.raises(UserError, match=r"measurements/top/step000100\.json"):
        collect.collect_measurement(folders, "measurements/top")


def unsealed(**changes):
    return lambda path: path.write_text(json.dumps(read_json(path) | changes, indent=1))


@pytest.mark.parametrize(
    ("file", "spoil", "why"),
    [
        ("run.json", unsealed(final_loss=0.001, iterations=7), "record"),
        ("manifest.json", unsealed(stopped="max_iterations"), "record"),
        ("run.json", lambda f: f.unlink(), "missing"),
        ("run.json", lambda f: f.write_text("{"), "record"),
        ("run.json", lambda f: write_json(f, read_json(f) | {"versions": 5}), "record"),
        ("run.json", lambda f: write_json(f, read_json(f) | {"status": "running"}), "unfinished"),
        ("trajectory.parquet", lambda f: f.write_bytes(f.read_bytes()[:-20]), "size"),
        ("decomposition/index.json", lambda f: f.write_text("{}"), "record"),
        ("decomposition/step000100.json", lambda f: f.unlink(), "missing"),
        ("decomposition/step000100.json", flip, "checksum"),
    ],
)
def test_what_is_missing_or_damaged_is_named_at_once_and_moved_aside(folders, file, spoil, why):
    path, other = folders[1] / file, folders[0] / "trajectory.parquet"
    spoil(path)
    other.write_text("{}")
    with pytest.raises(UserError, match=r"Start the workflow again") as caught:
        collect.collect(folders, "decomposition")
    assert f"{path} ({why})" in str(caught.value) and f"{other} (size)" in str(caught.value)
    damaged = why not in ("missing", "unfinished")
    assert path.exists() == (why == "unfinished")
    assert len(list(folders[1].rglob("*.damaged-*"))) == damaged
    assert len(list(folders[0].rglob("*.damaged-*"))) == 1
