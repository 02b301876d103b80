"""Records of what was made: found again where the results have moved, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from eosflow.results import manifest
from eosflow.storage import provenance
from eosflow.storage.damage import DAMAGED, note_damage, noted
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json


def results(folder: Path, text: str = "a,b\n1,2\n") -> Path:
    """A results folder with one table; returns its record."""
    table = folder / "table1.csv"
    table.parent.mkdir(parents=True)
    table.write_text(text)
    record = folder / "provenance" / "table1.json"
    record.parent.mkdir()
    provenance.seal(record, [table])
    return record


def test_results_can_be_moved(tmp_path: Path) -> None:
    record = results(tmp_path / "results")
    provenance.verify(record)
    moved = (tmp_path / "results").rename(tmp_path / "elsewhere")
    provenance.verify(moved / "provenance" / "table1.json")
    manifest.results_manifest(moved, [], moved / "manifest.json")
    listed = read_json(moved / "manifest.json")["files"]
    assert [entry["file"] for entry in listed] == [str(moved / "table1.csv")]


def test_a_copy_does_not_touch_the_folder_it_came_from(tmp_path: Path) -> None:
    record = results(tmp_path / "copy")
    first = results(tmp_path / "results", "other numbers\n")
    (tmp_path / "copy" / "table1.csv").write_text("damaged")
    with pytest.raises(UserError, match=r"copy/table1\.csv is damaged"):
        provenance.verify(record)
    assert not (tmp_path / "copy" / "table1.csv").exists()
    provenance.verify(first)


def test_a_file_that_is_gone_is_named_with_its_record(tmp_path: Path) -> None:
    record = results(tmp_path / "results")
    (tmp_path / "results" / "table1.csv").unlink()
    with pytest.raises(UserError, match=r"table1\.csv is missing.*provenance/table1\.json"):
        manifest.results_manifest(tmp_path / "results", [], tmp_path / "manifest.json")
    assert record.exists()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with a decomposition and another measurement."""
    folder = tmp_path / "dice-ce" / "n468" / "init0-subset0"
    synthetic.write_run_folder(folder, *synthetic.run("dice-ce", 468))
    synthetic.write_measurement(folder, "measurements/top", [{"iteration": 0, "value": 1.0}])
    return folder


PLACES = ("decomposition", "measurements/top")


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("trajectory.parquet", "."),
        ("manifest.json", "."),
        ("decomposition/step000100.json", "decomposition"),
        ("decomposition/index.json", "decomposition"),
        ("measurements/top/step000000.json", "measurements/top"),
    ],
)
def test_damage_is_noted_beside_the_list_and_nothing_deleted(
    run: Path, file: str, place: str
) -> None:
    manifest.verify_runs([run], PLACES)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    damaged = run / file
    damaged.write_bytes(damaged.read_bytes()[:-20])
    before[damaged] = damaged.read_bytes()
    with pytest.raises(UserError, match=f"{file}\n.*Start the workflow again"):
        manifest.verify_runs([run], PLACES)
    assert noted(run / place) == {Path(file).name}
    (note,) = run.rglob(DAMAGED)
    assert note == run / place / DAMAGED and read_json(note)["reason"]
    note.unlink()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_all_damaged_files_are_named_at_once(run: Path) -> None:
    (run / "trajectory.parquet").unlink()
    for step in ("step000000", "step000100"):
        (run / "decomposition" / f"{step}.json").write_text("{}")
    with pytest.raises(UserError, match=r"trajectory\.parquet(.|\n)*step000000(.|\n)*step000100"):
        manifest.verify_runs([run])
    assert noted(run) == {"trajectory.parquet"}
    assert noted(run / "decomposition") == {"step000000.json", "step000100.json"}


def test_a_note_keeps_what_an_earlier_one_named(tmp_path: Path) -> None:
    assert noted(tmp_path) == frozenset()
    note_damage(tmp_path, ["snapshots/step000100.safetensors"], "checksum")
    note_damage(tmp_path, ["trajectory.parquet"], "checksum")
    assert noted(tmp_path) == {"snapshots/step000100.safetensors", "trajectory.parquet"}


def test_the_manifest_lists_every_measurement_of_a_run(run: Path, tmp_path: Path) -> None:
    name = run.relative_to(tmp_path).as_posix()
    manifest.results_manifest(tmp_path, [name], tmp_path / "manifest.json")
    listed = {
        Path(e["file"]).relative_to(run) for e in read_json(tmp_path / "manifest.json")["files"]
    }
    there = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    assert listed == there
    (run / "measurements" / "top" / "step000000.json").unlink()
    with pytest.raises(UserError, match=r"step000000\.json is missing, which .*index\.json lists"):
        manifest.results_manifest(tmp_path, [name], tmp_path / "manifest.json")
