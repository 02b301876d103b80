"""Results of version 0.1 in the new form: nothing is trained, and an interrupted run goes on."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from problems import small_spec, write_noise_subset

from eosflow.measurements.decomposition import Decomposition
from eosflow.runs import train as training
from eosflow.runs.measure import measure_run
from eosflow.runs.migrate import migrate, new_spec
from eosflow.runs.train import train
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256, write_json
from eosflow.storage.tensors import load_tensors, save_tensors

# A specification as version 0.1 wrote it, with the key that it gave it.
FLAT: dict[str, Any] = {
    "experiment": "dice-ce",
    "dataset": "dice",
    "dataset_settings": {"image_size": 4, "images_per_class": 20000, "seed": 0},
    "criterion": "cross_entropy",
    "n": 21,
    "init_seed": 0,
    "subset_seed": 0,
    "width": 8,
    "depth": 4,
    "activation": "elu",
    "gain": math.sqrt(2),
    "integrator": "exponential-euler",
    "max_step_size": 0.2,
    "eigen_tolerance": 0.01,
    "eigen_dtype": "float32",
    "max_block_products": 12,
    "target_loss": 0.6,
    "max_iterations": 400,
    "snapshot_every": 20,
    "snapshot_also": [0, 10],
}
FLAT_KEY = digest({**FLAT, "training_version": 1})


def test_the_flat_form_is_the_specification_of_the_same_run() -> None:
    assert new_spec(FLAT) == small_spec()
    assert FLAT_KEY == "579a5bbf27b00646"


def as_version_0_1(folder: Path) -> None:
    """Rewrite a run's records to what version 0.1 wrote of it."""
    record = read_json(folder / "run.json")
    steps = {k: v for k, v in FLAT.items() if k not in ("target_loss", "max_iterations")}
    flat = {
        "spec": FLAT,
        "key": FLAT_KEY,
        "trajectory_key": digest({**steps, "training_version": 1}),
    }
    if "manifest" in record:
        record["manifest"]["key"] = FLAT_KEY
        write_json(folder / "manifest.json", record["manifest"])
    write_json(folder / "run.json", {**record, **flat})
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists():
        tensors, metadata = load_tensors(checkpoint)
        state = metadata.pop("optimizer")
        del metadata["batch"]
        metadata |= {
            "step_limit": state.get("step_limit"),
            "trajectory_key": flat["trajectory_key"],
        }
        old = {name.removeprefix("optimizer."): tensor for name, tensor in tensors.items()}
        save_tensors(checkpoint, old, metadata)


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_subset(tmp_path_factory.mktemp("data") / "dice-subset0.npz", seed=0)


def run_in(results: Path) -> Path:
    return results / "dice-ce" / "n21" / "init0-subset0"


def test_a_finished_run_stays_finished(
    subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_in(tmp_path)
    manifest = train(small_spec(), subset, folder, threads=1)
    measure_run(folder, subset, Decomposition())
    as_version_0_1(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert migrate(tmp_path) == (1, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    monkeypatch.setattr(training, "follow", None)  # calling it would fail
    assert train(small_spec(), subset, folder, threads=1) == manifest
    monkeypatch.setattr(Decomposition, "measure", None)  # so would this
    measure_run(folder, subset, Decomposition())
    assert migrate(tmp_path) == (0, 1)


def test_an_interrupted_run_goes_on_to_the_same_numbers(subset: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    train(small_spec(max_iterations=30), subset, whole, threads=1)
    folder = run_in(tmp_path / "results")
    train(small_spec(max_iterations=15), subset, folder, threads=1)
    FLAT_15 = {**FLAT, "max_iterations": 15}
    as_version_0_1(folder)
    record = read_json(folder / "run.json")
    key = digest({**FLAT_15, "training_version": 1})
    write_json(folder / "run.json", {**record, "spec": FLAT_15, "key": key})
    migrate(tmp_path / "results")
    train(small_spec(max_iterations=30), subset, folder, threads=1)
    assert sha256(folder / "trajectory.parquet") == sha256(whole / "trajectory.parquet")


def test_a_record_that_is_not_its_own_is_left_alone(subset: Path, tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    train(small_spec(), subset, folder, threads=1)
    other = folder.with_name("init1-subset0")
    shutil.copytree(folder, other)
    for place in (folder, other):
        as_version_0_1(place)
    text = (other / "run.json").read_text()
    (other / "run.json").write_text(text.replace('"n": 21', '"n": 22'))
    with pytest.raises(UserError, match=r"init1-subset0.*run\.json"):
        migrate(tmp_path)
    assert json.loads((other / "run.json").read_text())["spec"]["n"] == 22
    assert read_json(folder / "run.json")["spec"] == small_spec().to_record()


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no runs"):
        migrate(tmp_path)
