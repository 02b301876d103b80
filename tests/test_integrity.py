"""Nothing silently wrong: records, data and places that were changed are noticed, not used."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import small_spec, write_noise_subset

from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.results import collect, manifest
from eosflow.runs import train as training
from eosflow.runs.measure import measure_run
from eosflow.runs.spec import RunSpec
from eosflow.runs.train import train
from eosflow.storage import provenance
from eosflow.storage.digests import canonical_json
from eosflow.storage.errors import UserError
from eosflow.storage.files import (
    read_json,
    read_sealed,
    remove_leftovers,
    sha256,
    write_json,
    write_text,
)
from eosflow.storage.tensors import load_tensors, save_tensors
from eosflow.workflow.locks import alone_in, measuring_in
from eosflow.workflow.stale import Stale

SPEC = small_spec(max_iterations=60, target_loss=1e-9)
RUN = str(SPEC.folder)
PLACE = f"{RUN}/decomposition"


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_subset(tmp_path_factory.mktemp("data") / "dice-subset0.npz", seed=0)


@pytest.fixture(scope="module")
def other_subset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other examples under the same name."""
    return write_noise_subset(tmp_path_factory.mktemp("other") / "dice-subset0.npz", seed=1)


@pytest.fixture(scope="module")
def finished(subset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one run, trained and decomposed."""
    results = tmp_path_factory.mktemp("results")
    train(SPEC, subset, results / RUN, threads=1)
    measure_run(results / RUN, subset, Decomposition())
    return results


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "results")


def as_before(path: Path, **changes: Any) -> None:
    """Write a record as a version without checksums did, with changes; None leaves a key out."""
    record = {k: v for k, v in (read_json(path) | changes).items() if v is not None}
    write_text(path, canonical_json(record))


def reason(results: Path, spec: RunSpec = SPEC) -> str | None:
    return Stale(str(results), {RUN: spec}).run(RUN)


# Records


def test_no_flipped_bit_changes_what_a_record_says(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record = {"n": 468, "status": "finished", "loss": 0.125, "of": [{"file": "a", "sha256": "0f"}]}
    write_json(path, record)
    assert read_sealed(path) == (record, True)
    whole = path.read_bytes()
    noticed = 0
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                assert read_json(path) == record, (position, bit)
            except ValueError:
                noticed += 1
    assert noticed > 0.99 * 8 * len(whole)


def test_a_record_from_before_checksums_is_read_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "run.json", '{\n "n": 468\n}\n')
    assert read_sealed(tmp_path / "run.json") == ({"n": 468}, False)
    for text in ("null", "[]", "468"):
        write_text(tmp_path / "run.json", text)
        with pytest.raises(ValueError, match="holds no record"):
            read_json(tmp_path / "run.json")


def test_the_key_is_that_of_the_specification(results: Path) -> None:
    path = results / RUN / "run.json"
    spec = read_json(path)["spec"]
    as_before(path)
    assert reason(results) is None
    as_before(path, spec=spec | {"n": 12})
    assert "its key is not the one that its specification gives" in str(reason(results))
    with pytest.raises(UserError, match=r"run\.json is damaged: its key is not"):
        collect.collect([results / RUN])
    with pytest.raises(UserError, match=r"run\.json is damaged: its key is not"):
        measure_run(results / RUN, results, Decomposition())


@pytest.mark.parametrize("name", ["final_loss", "iterations", "flow_time"])
def test_an_old_record_must_end_as_its_last_snapshot(name: str, results: Path) -> None:
    path = results / RUN / "run.json"
    as_before(path)
    assert len(collect.collect([results / RUN])[1]) == 1
    as_before(path, **{name: read_json(path)[name] + 1})
    with pytest.raises(UserError, match=f"its {name} are not those of its last snapshot"):
        collect.collect([results / RUN])


def test_nothing_is_repaired_from_a_record_that_does_not_match(results: Path, subset: Path) -> None:
    """The manifest that was whole stays as it is, and the run is made again to the same bits."""
    folder = results / RUN
    whole = read_json(folder / "manifest.json")
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"flow_time": 0.', '"flow_time": 1.'))
    assert "missing or damaged" in str(reason(results))
    train(SPEC, subset, folder, threads=1)
    assert (
        read_json(folder / "manifest.json") == whole == read_json(folder / "run.json")["manifest"]
    )
    assert reason(results) is None


def test_an_old_record_restores_a_manifest_only_where_the_snapshots_vouch(
    results: Path, subset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = results / RUN
    whole = read_json(folder / "manifest.json")
    (folder / "manifest.json").unlink()
    as_before(folder / "run.json")
    train(SPEC, subset, folder, threads=1)
    assert read_json(folder / "manifest.json") == whole
    assert not read_sealed(folder / "run.json")[1]  # it was not made again
    wrong = read_json(folder / "run.json")["manifest"]
    wrong["snapshots"][1]["loss"] += 1
    as_before(folder / "run.json", manifest=wrong)
    (folder / "manifest.json").unlink()
    train(SPEC, subset, folder, threads=1)
    assert "does not tell of snapshots/step000010.safetensors" in caplog.text
    assert read_json(folder / "manifest.json") == whole


def test_a_damaged_measurement_is_not_adopted(results: Path, subset: Path) -> None:
    """Neither by its checksum nor, from before there were any, by the index."""
    place = results / PLACE
    path = place / "step000020.json"
    whole = path.read_bytes()
    (place / "index.json").unlink()  # as where a measuring job was killed
    path.write_bytes(whole.replace(b'"loss": 1', b'"loss": 2'))
    measure_run(results / RUN, subset, Decomposition())
    assert path.read_bytes() == whole
    (place / "index.json").unlink()
    as_before(path, loss=0.5)
    measure_run(results / RUN, subset, Decomposition())
    assert path.read_bytes() == whole


# Data


def interrupted(results: Path, subset: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until a real Ctrl-C in the middle of an iteration."""
    real = training.row_of

    def row(course: Any, *others: Any) -> list[float]:
        if course.iteration == at:
            os.kill(os.getpid(), signal.SIGINT)
        return real(course, *others)

    # Where the tests were started in the background, the shell has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(training, "row_of", row)
            train(SPEC, subset, results / RUN, threads=1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_a_checkpoint_and_says_so(
    finished: Path,
    subset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    interrupted(tmp_path, subset, 37, monkeypatch)
    assert f"{RUN} was interrupted and goes on from iteration 37" in caplog.text
    assert load_tensors(tmp_path / RUN / "checkpoint.safetensors")[1]["iteration"] == 37
    interrupted(tmp_path, subset, 40, monkeypatch)
    train(SPEC, subset, tmp_path / RUN, threads=1)
    assert f"{RUN} continues from iteration 40" in caplog.text
    ours, theirs = tmp_path / RUN, finished / RUN
    assert read_json(ours / "manifest.json") == read_json(theirs / "manifest.json")
    assert sha256(ours / "trajectory.parquet") == sha256(theirs / "trajectory.parquet")


def without_data(folder: Path, file: str | None) -> None:
    """Make checkpoint and record as a version wrote them that kept no checksum of the rows."""
    tensors, metadata = load_tensors(folder / "checkpoint.safetensors")
    del metadata["data"], metadata["sittings"]
    save_tensors(folder / "checkpoint.safetensors", tensors, metadata)
    as_before(folder / "run.json", subset={"file": "dice-subset0.npz", "sha256": file})


@pytest.mark.parametrize("old", [False, True])
def test_training_does_not_go_on_with_other_data(
    old: bool, subset: Path, other_subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, subset, 37, monkeypatch)
    if old:
        without_data(tmp_path / RUN, "0" * 64)
    checkpoint = sha256(tmp_path / RUN / "checkpoint.safetensors")
    with pytest.raises(UserError, match=r"trained on until iteration 37\. Put the former file"):
        train(SPEC, other_subset, tmp_path / RUN, threads=1)
    assert sha256(tmp_path / RUN / "checkpoint.safetensors") == checkpoint
    assert train(SPEC, subset, tmp_path / RUN, threads=1)["stopped"] == "max_iterations"


@pytest.mark.parametrize("old", [False, True])
def test_a_run_is_not_measured_on_other_data(
    old: bool, results: Path, subset: Path, other_subset: Path, tmp_path: Path
) -> None:
    folder = results / RUN
    if old:
        as_before(folder / "run.json", subset={"file": "x", "sha256": "0" * 64})
    with pytest.raises(UserError, match=r"does not hold the examples that .* was trained on"):
        measure_run(folder, other_subset, TopEigenvalues())
    # More rows, of which the first are the same, are the same data.
    with np.load(subset) as arrays:
        longer = {name: arrays[name] for name in ("indices", "scale")}
        for name in ("inputs", "labels"):
            longer[name] = np.concatenate([arrays[name], arrays[name][:5]])
    np.savez(tmp_path / "dice-subset0.npz", **longer)
    assert measure_run(folder, tmp_path / "dice-subset0.npz", TopEigenvalues())["snapshots"]


@pytest.mark.parametrize("old", [False, True])
def test_the_decomposition_of_another_run_is_noticed(
    old: bool, results: Path, subset: Path, tmp_path: Path
) -> None:
    own = sha256(results / PLACE / "index.json")
    other = tmp_path / "init1"
    train(small_spec(max_iterations=60, target_loss=1e-9, init_seed=1), subset, other, threads=1)
    measure_run(other, subset, Decomposition())
    shutil.rmtree(results / PLACE)
    shutil.copytree(other / "decomposition", results / PLACE)
    if old:
        as_before(results / PLACE / "index.json", run=None, of=None)
    stale = Stale(str(results), {RUN: SPEC})
    assert (stale.measured(RUN, Decomposition()) is None) == old
    assert "of other snapshots" in str(stale.vouched(RUN, Decomposition())) or not old
    with pytest.raises(UserError, match=r"index\.json"):
        manifest.verify_runs([results / RUN])
    assert Stale(str(results), {RUN: SPEC}).measured(RUN, Decomposition()) is not None
    measure_run(results / RUN, subset, Decomposition())
    manifest.verify_runs([results / RUN])
    assert sha256(results / PLACE / "index.json") == own


def test_a_run_says_what_changed_between_its_sittings(
    subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tmp_path, subset, 20, monkeypatch)
    interrupted(tmp_path, subset, 30, monkeypatch)  # on the same: no session of its own
    train(SPEC, subset, tmp_path / RUN, threads=2)
    assert "goes on with other threads" in caplog.text
    record = read_json(tmp_path / RUN / "run.json")
    assert [(s["from_iteration"], s["threads"]) for s in record["sittings"]] == [(0, 1), (30, 2)]
    facts = manifest.of_runs([record])
    assert facts["threads"] == [1, 2]
    assert facts["changed"] == [{"run": RUN, "from": [30], "threads": [1, 2]}]
    measure_run(tmp_path / RUN, subset, Decomposition())
    _, runs = collect.collect([tmp_path / RUN])
    assert runs["changed"].tolist() == ["threads: 1, 2 from iteration 30"]


def test_a_measurement_says_what_changed_between_its_snapshots(
    results: Path, subset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = read_json(results / PLACE / "index.json")
    (made_with,) = index["made_with"]
    assert made_with["versions"] == provenance.versions()
    last = results / PLACE / index["snapshots"][-1]["file"]
    row = read_json(last)
    last.unlink()
    torch.set_num_threads(made_with["threads"] + 1)
    try:
        found = measure_run(results / RUN, subset, Decomposition())["made_with"]
    finally:
        torch.set_num_threads(made_with["threads"])
    assert found == [made_with, made_with | {"threads": made_with["threads"] + 1}]
    assert "more than one of threads" in caplog.text
    assert read_json(last).keys() == row.keys()
    frame, _ = collect.collect([results / RUN])
    assert "made_with" not in frame


# Places


def blocked(hold: Callable[[], Any], want: Callable[[], Any]) -> bool:
    """Whether a lock is waited for while another is held; it must be had afterwards."""
    had = threading.Event()

    def take() -> None:
        with want():
            had.set()

    waiting = threading.Thread(target=take)
    with hold():
        waiting.start()
        free = had.wait(0.3)
    waiting.join(10)
    assert had.is_set()
    return not free


def test_measurements_keep_training_and_each_other_out(tmp_path: Path) -> None:
    run = tmp_path / RUN

    def train_it() -> Any:
        return alone_in(run)

    def decompose() -> Any:
        return measuring_in(run, "decomposition")

    def look() -> Any:
        return measuring_in(run, "measurements/top-eigenvalues")

    assert blocked(train_it, train_it) and blocked(train_it, decompose)
    assert blocked(decompose, train_it) and blocked(decompose, decompose)
    assert not blocked(decompose, look)


def test_what_killed_processes_left_is_removed(results: Path, subset: Path) -> None:
    folder = results / RUN
    left = [
        folder / ".checkpoint.abc.partial.safetensors",
        folder / "snapshots" / ".step000020.abc.partial.safetensors",
        folder / "decomposition" / ".step000020.abc.partial.json",
    ]
    for path in left:
        path.write_bytes(b"half")
    remove_leftovers(folder, older_than=3600)
    assert left[0].exists()
    train(SPEC, subset, folder, threads=1)
    measure_run(folder, subset, Decomposition())
    assert [path for path in left if path.exists()] == []
    assert reason(results) is None
