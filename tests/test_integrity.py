"""Nothing silently wrong: records, data and places that were changed are noticed, not used."""

from __future__ import annotations

import hashlib
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
from project import HANGS

from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.results import collect, sessions
from eosflow.runs import train as training
from eosflow.runs import whole
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder
from eosflow.runs.train import train
from eosflow.storage import files, provenance
from eosflow.storage.errors import UserError
from eosflow.storage.files import (
    read_json,
    remove_leftovers,
    sha256,
    write_json,
    write_text,
)
from eosflow.storage.locks import alone_in
from eosflow.storage.tensors import load_tensors

SPEC = small_spec(max_iterations=60, target_loss=1e-9)
RUN = str(SPEC.folder)
DECOMPOSED = measured_folder(Decomposition())
PLACE = f"{RUN}/{DECOMPOSED}"


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


def damaged(results: Path) -> list[str]:
    _, damages = whole.of_run(results / RUN, SPEC.key, deep=True)
    return [f"{damage.path.name} ({damage.why})" for damage in damages]


# Records


def test_no_flipped_bit_changes_what_a_record_says(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record = {"n": 468, "status": "finished", "loss": 0.125, "of": [{"file": "a", "sha256": "0f"}]}
    write_json(path, record)
    assert read_json(path) == record
    whole = path.read_bytes()
    noticed = 0
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            assert read_json(path) == record, position
        except ValueError:
            noticed += 1
    assert noticed >= len(whole) - 1  # but for the line end below the seal's


@pytest.mark.parametrize("text", ['{\n "n": 468\n}\n', "null", "[]", "468", "", "[" * 10**5])
def test_what_has_no_seal_is_no_record(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "run.json", text)
    with pytest.raises(ValueError, match="checksum"):
        read_json(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("run.json", {"key": "0" * 16}),
        ("run.json", {"versions": 5}),
        ("run.json", {"sittings": "many"}),
        ("manifest.json", {"key": "0" * 16}),
        ("manifest.json", {"stopped": "somewhere"}),
        ("manifest.json", {"trajectory": {"file": "../../other.parquet"}}),
        ("manifest.json", {"snapshots": []}),
    ],
)
def test_a_sealed_record_that_does_not_fit_is_damaged_and_made_again(
    name: str, changes: dict[str, Any], results: Path, subset: Path
) -> None:
    """To the same bits: nothing is taken from a record that does not match."""
    path = results / RUN / name
    manifest = read_json(results / RUN / "manifest.json")
    write_json(path, read_json(path) | changes)
    assert [line.split()[0] for line in damaged(results)] == [name]
    train(SPEC, subset, results / RUN, threads=1)
    assert damaged(results) == []
    assert read_json(results / RUN / "manifest.json") == manifest
    assert list(path.parent.glob(f"{name}.damaged-*"))


def test_a_manifest_is_made_again_of_the_record_and_trains_nothing(
    results: Path, subset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results / RUN / "manifest.json"
    whole_one = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(training, "follow", None)  # calling it would fail
    train(SPEC, subset, results / RUN, threads=1)
    assert path.read_bytes() == whole_one


def test_the_key_is_that_of_the_specification(results: Path) -> None:
    path = results / RUN / "run.json"
    record = read_json(path)
    write_json(path, record | {"spec": record["spec"] | {"n": 12}})
    with pytest.raises(UserError, match="its key is not"):
        collect.collect([results / RUN], DECOMPOSED)
    with pytest.raises(UserError, match="its key is not"):
        measure_run(results / RUN, results, Decomposition())


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


def test_training_does_not_go_on_with_other_data(
    subset: Path, other_subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, subset, 37, monkeypatch)
    checkpoint = sha256(tmp_path / RUN / "checkpoint.safetensors")
    with pytest.raises(UserError, match=r"trained on until iteration 37\. Put the former file"):
        train(SPEC, other_subset, tmp_path / RUN, threads=1)
    assert sha256(tmp_path / RUN / "checkpoint.safetensors") == checkpoint
    assert train(SPEC, subset, tmp_path / RUN, threads=1).stopped == "max_iterations"


def test_a_run_is_not_measured_on_other_data(
    results: Path, subset: Path, other_subset: Path, tmp_path: Path
) -> None:
    folder = results / RUN
    with pytest.raises(UserError, match=r"does not hold the examples that .* was trained on"):
        measure_run(folder, other_subset, TopEigenvalues())
    # More rows, of which the first are the same, are the same data.
    with np.load(subset) as arrays:
        longer = {name: arrays[name] for name in ("indices", "scale")}
        for name in ("inputs", "labels"):
            longer[name] = np.concatenate([arrays[name], arrays[name][:5]])
    np.savez(tmp_path / "dice-subset0.npz", **longer)
    (index,) = measure_run(folder, tmp_path / "dice-subset0.npz", TopEigenvalues())
    assert index.snapshots


def test_the_decomposition_of_another_run_is_noticed(
    results: Path, subset: Path, tmp_path: Path
) -> None:
    own = sha256(results / PLACE / "index.json")
    other = tmp_path / "init1"
    train(small_spec(max_iterations=60, target_loss=1e-9, init_seed=1), subset, other, threads=1)
    measure_run(other, subset, Decomposition())
    shutil.rmtree(results / PLACE)
    shutil.copytree(other / DECOMPOSED, results / PLACE)
    with pytest.raises(UserError, match=r"index\.json \(other-snapshots\)"):
        collect.collect([results / RUN], DECOMPOSED)
    measure_run(results / RUN, subset, Decomposition())
    collect.collect([results / RUN], DECOMPOSED)
    assert sha256(results / PLACE / "index.json") == own


def test_a_run_says_what_changed_between_its_sittings(
    subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tmp_path, subset, 20, monkeypatch)
    interrupted(tmp_path, subset, 30, monkeypatch)  # on the same: no session of its own
    train(SPEC, subset, tmp_path / RUN, threads=2)
    assert "continues with other threads" in caplog.text
    record = read_json(tmp_path / RUN / "run.json")
    assert [(s["from_iteration"], s["threads"]) for s in record["sittings"]] == [(0, 1), (30, 2)]
    facts = sessions.of_runs([record])
    assert facts["threads"] == [1, 2]
    assert facts["changed"] == {record["key"]: "threads: 1, 2 from iteration 30"}
    measure_run(tmp_path / RUN, subset, Decomposition())
    _, runs = collect.collect([tmp_path / RUN], DECOMPOSED)
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
        (found,) = measure_run(results / RUN, subset, Decomposition())
    finally:
        torch.set_num_threads(made_with["threads"])
    assert list(found.made_with) == [made_with, made_with | {"threads": made_with["threads"] + 1}]
    assert "more than one of threads" in caplog.text
    assert read_json(last).keys() == row.keys()
    frame, _ = collect.collect([results / RUN], DECOMPOSED)
    assert "made_with" not in frame


# Places


def blocked(hold: Callable[[], Any], want: Callable[[], Any], seconds: float) -> bool:
    """Whether a lock is waited for so long while another is held; it must be had afterwards."""
    had = threading.Event()

    def take() -> None:
        with want():
            had.set()

    waiting = threading.Thread(target=take)
    with hold():
        waiting.start()
        free = had.wait(seconds)
    waiting.join(HANGS)
    assert had.is_set()
    return not free


def test_one_job_at_a_time_works_in_a_run(tmp_path: Path) -> None:
    def work(name: str = "a") -> Any:
        return alone_in(tmp_path / name)

    assert blocked(work, work, 2)
    assert not blocked(work, lambda: work("b"), HANGS)


def test_what_killed_processes_left_is_removed(results: Path, subset: Path) -> None:
    folder = results / RUN
    left = [
        folder / ".checkpoint.abc.partial.safetensors",
        folder / "snapshots" / ".step000020.abc.partial.safetensors",
        folder / DECOMPOSED / ".step000020.abc.partial.json",
    ]
    for path in left:
        path.write_bytes(b"half")
    remove_leftovers(folder, older_than=3600)
    assert left[0].exists()
    train(SPEC, subset, folder, threads=1)
    measure_run(folder, subset, Decomposition())
    assert [path for path in left if path.exists()] == []
    assert damaged(results) == []


def test_a_sealed_record_too_deep_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    write_json(tmp_path / "deep.json", {"deep": deep})
    read_json(tmp_path / "deep.json")
    text = (tmp_path / "deep.json").read_text()
    lines = text.partition("\n")[2].replace("[", "[" * 1000, 1).replace("]", "]" * 1000, 1)
    seal = f'{{"{files.CHECKSUM}": "{files.MARK}: {hashlib.sha256(lines.encode()).hexdigest()}",'
    write_text(tmp_path / "deep.json", f"{seal}\n{lines}")
    with pytest.raises(ValueError, match="deep"):
        read_json(tmp_path / "deep.json")
    write_json(tmp_path / "large.json", {"n": 468})
    monkeypatch.setattr(files, "LARGEST", 10)
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "large.json")
