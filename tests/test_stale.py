"""Requests: written where a result must be made again, newer than it, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from problems import small_spec

from eosflow.datasets.base import SUBSET_VERSION
from eosflow.datasets.dice import Dice
from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.runs.names import index_key
from eosflow.storage import provenance
from eosflow.storage.damage import note_damage
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json
from eosflow.storage.settings import record
from eosflow.workflow.products import PAPER, Product
from eosflow.workflow.stale import Stale

RUN = str(small_spec().folder)


@pytest.fixture
def stale(tmp_path: Path) -> Stale:
    """A results folder with one finished run, as far as planning looks."""
    manifest = {"key": small_spec().key, "snapshots": []}
    write_json(tmp_path / RUN / "manifest.json", manifest)
    record = {"key": small_spec().key, "spec": small_spec().to_record(), "manifest": manifest}
    write_json(tmp_path / RUN / "run.json", record)
    index = {"version": Decomposition.version, "measurement": index_key(Decomposition())}
    write_json(tmp_path / RUN / "decomposition" / "index.json", index)
    return Stale(str(tmp_path), {RUN: small_spec()})


def test_what_is_there_and_as_asked_for_has_no_request(stale: Stale) -> None:
    assert stale.run(RUN) is None
    assert stale.measured(RUN, Decomposition()) is None
    assert stale.request(f"{RUN}/manifest.json", None) == []
    assert stale.request("table1.csv", "it is not there yet, which Snakemake sees itself") == []
    assert not (Path(stale.results) / "requests").exists()


def test_a_request_is_newer_than_the_result_and_written_once(stale: Stale) -> None:
    target = f"{RUN}/manifest.json"
    made = Path(stale.results, target)
    os.utime(made, (2e9, 2e9))  # by a machine whose clock is ahead
    (path,) = stale.request(target, "for a reason")
    assert Path(path).stat().st_mtime > 2e9
    content = read_json(path)
    assert (content["make_again"], content["reason"]) == (target, "for a reason")
    before, written = Path(path).stat().st_mtime_ns, Path(path).read_bytes()
    assert stale.request(target, "for a reason") == [path]
    assert Path(path).stat().st_mtime_ns == before
    os.utime(made, (3e9, 3e9))  # made again, and then once more in need of it
    stale.request(target, "for a reason")
    assert Path(path).stat().st_mtime > 3e9
    assert Path(path).read_bytes() != written  # else Snakemake takes it for the former


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("run.json", "{", "run.json is missing or damaged"),
        ("run.json", None, "run.json is missing or damaged"),
        ("manifest.json", '{"key": 1}', "manifest.json is damaged"),
        ("manifest.json", "[]", "manifest.json is damaged"),
    ],
)
def test_records_that_cannot_be_trusted(
    stale: Stale, file: str, content: str | None, words: str
) -> None:
    path = Path(stale.results, RUN, file)
    path.unlink() if content is None else path.write_text(content)
    assert words in str(stale.run(RUN))


def test_another_specification_is_named_by_what_differs(tmp_path: Path, stale: Stale) -> None:
    other = Stale(str(tmp_path), {RUN: small_spec(width=9, max_step_size=0.1)})
    reason = str(other.run(RUN))
    assert "network.width: 9, there 8" in reason
    assert "optimizer.max_step_size: 0.1, there 0.2" in reason


def test_a_subset_is_drawn_again_for_other_settings_alone(tmp_path: Path, stale: Stale) -> None:
    wanted = Dice(image_size=8)
    stored = {name: value for name, value in record(wanted).items() if name != "name"}
    path = tmp_path / "data" / "subsets" / "dice-subset0.npz"
    path.parent.mkdir(parents=True)
    path.touch()

    def reason(settings: object) -> str | None:
        known = {"settings": settings, "size": 30, "subset_version": SUBSET_VERSION}
        known |= {"dataset": "dice", "subset_seed": 0}
        write_json(path.with_suffix(".json"), known)
        return stale.subset("data/subsets/dice-subset0.npz", wanted, 30)

    assert reason(stored) is None
    del stored["point"]  # of before there was this setting: it is at its default
    assert reason(stored) is None
    for other in ({**stored, "point": 1}, {**stored, "colour": "red"}, {}, None):
        assert reason(other) == "its dataset has other settings"


def test_measurements_and_notes(stale: Stale) -> None:
    place = Path(stale.results, RUN)
    write_json(place / "measurements/top-eigenvalues/index.json", {"version": 2})
    assert stale.measured(RUN, TopEigenvalues()) is None  # of before settings were written down
    assert "with other settings" in str(stale.measured(RUN, TopEigenvalues(k=7)))
    write_json(place / "measurements/top-eigenvalues/index.json", {"version": 0})
    assert "by another version" in str(stale.measured(RUN, TopEigenvalues()))
    note_damage(place / "decomposition", ["step000010.json"], "a flipped bit")
    assert "step000010.json" in str(stale.measured(RUN, Decomposition()))
    note_damage(place, ["trajectory.parquet"], "it is truncated")
    assert "trajectory.parquet" in str(stale.run(RUN))
    assert (place / "manifest.json").exists()


def test_a_table_of_other_runs_is_made_again(tmp_path: Path, stale: Stale) -> None:
    files = ("table1.csv", "provenance/table1.json")
    product = Product(files, ("runs.parquet",), ("runs.parquet",), of=PAPER)

    def reason(specification: str = "0" * 16) -> str | None:
        anew = Stale(stale.results, stale.runs)  # which remembers what it has read
        return anew.product(product, specification)

    assert "table1.json is missing" in str(reason())
    table, runs = tmp_path / "table1.csv", tmp_path / "runs.parquet"
    table.write_text("a\n1\n")
    runs.write_text("many")
    (tmp_path / "provenance").mkdir()
    provenance.seal(tmp_path / files[1], [table], [runs], {"specification": "0" * 16})
    assert reason() is None
    assert reason("1" * 16) == "it was made of other runs"
    runs.write_text("more")
    assert reason() == "runs.parquet, which it is made from, is another now"
    runs.unlink()
    assert reason() == "runs.parquet, which it is made from, is missing"
    runs.write_text("many")
    table.write_text("a\n2\n")
    assert "table1.csv is damaged" in str(reason())


def test_a_folder_that_cannot_be_written_is_named(
    stale: Stale, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("eosflow.workflow.stale.write_json", refuse)
    with pytest.raises(UserError, match=r"must be made again \(a reason\).*Permission denied"):
        stale.request(f"{RUN}/manifest.json", "a reason")
