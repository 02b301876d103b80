"""Records become frames, whatever the network and the optimizer; damaged records are named."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import synthetic
from conftest import ROOT
from problems import small_spec

from eosflow.results import collect
from eosflow.storage import provenance
from eosflow.storage.damage import noted
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
        paths.append(tmp_path / f"init{init}")
        synthetic.write_run_folder(paths[-1], rows, row)
    return paths


def test_collect_reads_back_what_the_runs_wrote(folders):
    decomposition, runs = collect.collect(folders)
    expected, _ = synthetic.frames(["dice-ce"], seeds=2)
    chosen = (expected["n"] == 468) & (expected["subset_seed"] == 0)
    pd.testing.assert_frame_equal(
        decomposition.sort_index(axis=1), expected[chosen].reset_index(drop=True).sort_index(axis=1)
    )
    assert list(runs.columns) == collect.RUN_COLUMNS
    assert runs["init_seed"].tolist() == [0, 1]
    assert runs["stopped"].tolist() == ["target_loss", "target_loss"]


def test_run_rows_sum_up_the_trajectory_and_leave_the_transient_apart(folders):
    decomposition, runs = collect.collect(folders)
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


def test_no_runs_give_empty_frames():
    decomposition, runs = collect.collect([])
    assert len(decomposition) == len(runs) == 0
    assert list(runs.columns) == collect.RUN_COLUMNS


def test_what_an_optimizer_does_not_record_is_no_evidence(tmp_path):
    rows, row = synthetic.run("iris-gd", 30)
    row |= synthetic.GRADIENT_DESCENT | {"dataset_title": "Iris flowers", "batch": "batches of 8"}
    synthetic.write_run_folder(tmp_path / "gd", rows, row, eigenpairs=False)
    synthetic.write_run_folder(tmp_path / "flow", *synthetic.run("dice-ce", 468))
    _, runs = collect.collect([tmp_path / "gd", tmp_path / "flow"])
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


def test_networks_of_several_kinds_share_a_frame(tmp_path):
    rows, row = synthetic.run("my-conv", 390)
    conv = synthetic.without_chains(pd.DataFrame(rows)).to_dict("records")
    synthetic.write_run_folder(tmp_path / "conv", conv, row)
    synthetic.write_run_folder(tmp_path / "chain", *synthetic.run("dice-ce", 468))
    decomposition, _ = collect.collect([tmp_path / "conv", tmp_path / "chain"])
    alignments = decomposition.groupby("experiment")["alignment_1"].count()
    assert alignments["my-conv"] == 0 < alignments["dice-ce"]
    assert decomposition["layer_norm2_3"].notna().all()
    decomposition.to_parquet(tmp_path / "decomposition.parquet")


def test_a_run_without_a_decomposition_is_in_the_runs_alone(folders):
    shutil.rmtree(folders[1] / "decomposition")
    decomposition, runs = collect.collect(folders, undecomposed=folders[1:])
    assert set(decomposition["init_seed"]) == {0}
    assert runs["init_seed"].tolist() == [0, 1]
    with pytest.raises(UserError, match=r"index\.json is missing"):
        collect.collect(folders)


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
    with pytest.raises(UserError, match=r"init1/measurements/top/step000100\.json is not the file"):
        collect.collect_measurement(folders, "measurements/top")


def test_the_script_of_a_measurement_writes_frame_and_record(tmp_path):
    for init in (0, 1):
        folder = tmp_path / f"dice-ce/n468/init{init}"
        synthetic.write_run_folder(folder, *synthetic.run("dice-ce", 468, init))
        synthetic.write_measurement(folder, "measurements/top", [values(0), values(100)])
        spec = small_spec(n=468, init_seed=init)  # the program knows no other
        record = read_json(folder / "run.json") | {"spec": spec.to_record(), "key": spec.key}
        write_json(folder / "run.json", record)
    output = tmp_path / "measurements" / "top.parquet"
    record = tmp_path / "provenance" / "measurements" / "top.json"
    command = [sys.executable, str(ROOT / "scripts" / "collect_measurement.py"), "top"]
    command += ["--results", str(tmp_path), "--output", str(output), "--record", str(record)]
    command += ["--runs", "dice-ce/n468/init0", "dice-ce/n468/init1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(output)) == 4
    provenance.verify(record)
    assert read_json(record)["runs"]["runs"] == 2
    flipped = tmp_path / "dice-ce/n468/init1/measurements/top/step000100.json"
    flipped.write_text(flipped.read_text().replace("2.0", "2.5"))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "init1/measurements/top/step000100.json" in done.stderr
    assert noted(flipped.parent) == {"step000100.json"} and flipped.exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "run.json").unlink(), "run.json is missing"),
        (lambda f: (f / "run.json").write_text("{"), "run.json is damaged"),
        (lambda f: (f / "decomposition/step000100.json").unlink(), "step000100.json, which is mis"),
        (lambda f: (f / "decomposition/step000100.json").write_text("{}"), "changed or damaged"),
        (
            lambda f: write_json(f / "run.json", read_json(f / "run.json") | {"status": "running"}),
            "not finished",
        ),
        (
            lambda f: (f / "run.json").write_text(
                (f / "run.json").read_text().replace("finished", "finishes")
            ),
            "run.json is damaged .*checksum does not match",
        ),
    ],
)
def test_missing_and_damaged_records_are_named(folders, spoil, message):
    spoil(folders[1])
    with pytest.raises(UserError, match=message) as caught:
        collect.collect(folders)
    assert "init1" in str(caught.value)
