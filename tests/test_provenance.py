"""Records of what was made: found again where the results have moved, and nothing else touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from eosflow.results import manifest
from eosflow.storage import provenance
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json

RECORD = "provenance/table1.json"


def results(folder: Path, text: str = "a,b\n1,2\n") -> Path:
    """A results folder with one table and its record."""
    folder.mkdir(parents=True)
    (folder / "table1.csv").write_text(text)
    provenance.seal(folder, RECORD, ["table1.csv"])
    return folder


def test_results_can_be_moved(tmp_path: Path) -> None:
    provenance.verify(results(tmp_path / "results"), RECORD)
    moved = (tmp_path / "results").rename(tmp_path / "elsewhere")
    provenance.verify(moved, RECORD)
    manifest.results_manifest(moved, [RECORD], [], moved / "manifest.json")
    listed = read_json(moved / "manifest.json")["files"]
    assert [entry["file"] for entry in listed] == [str(moved / "table1.csv")]


def test_what_is_damaged_is_moved_aside_in_its_own_folder(tmp_path: Path) -> None:
    copy, first = results(tmp_path / "copy"), results(tmp_path / "results", "other numbers\n")
    (copy / "table1.csv").write_text("damaged")
    with pytest.raises(UserError, match=r"copy/table1\.csv is damaged"):
        provenance.verify(copy, RECORD)
    assert not (copy / "table1.csv").exists()
    assert [path.read_text() for path in copy.glob("table1.csv.damaged-*")] == ["damaged"]
    provenance.verify(first, RECORD)


@pytest.mark.parametrize(
    "changes",
    [
        {"made": [{"file": "../victim.txt", "sha256": "0" * 64, "bytes": 6}]},
        {"made": [{"file": "/victim.txt", "sha256": "0" * 64, "bytes": 6}]},
        {"made": [{"file": "a/../../victim.txt", "sha256": "0" * 64, "bytes": 6}]},
        {"made": 5},
        {"made": [{"file": "table1.csv"}]},
        {"sources": ["x"]},
    ],
)
def test_no_word_of_a_record_reaches_beyond_the_results(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder, victim = results(tmp_path / "results"), tmp_path / "victim.txt"
    victim.write_text("victim")
    write_json(folder / RECORD, read_json(folder / RECORD) | changes)
    with pytest.raises(UserError, match=r"table1\.json is damaged"):
        provenance.verify(folder, RECORD)
    assert victim.read_text() == "victim" and (folder / "table1.csv").exists()
    assert not (folder / RECORD).exists()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with a decomposition and another measurement."""
    folder = tmp_path / "runs" / "0123456789abcdef"
    synthetic.write_run_folder(folder, *synthetic.run("dice-ce", 468))
    synthetic.write_measurement(folder, "top-0123", [{"iteration": 0, "value": 1.0}])
    return folder


def test_the_manifest_lists_every_measurement_of_a_run(run: Path, tmp_path: Path) -> None:
    manifest.results_manifest(tmp_path, [], [run], tmp_path / "manifest.json")
    entries = read_json(tmp_path / "manifest.json")["files"]
    there = {path for path in run.rglob("*") if path.is_file()}
    assert {Path(entry["file"]) for entry in entries} == there
    assert {entry["record"] for entry in entries} == {str(run / "run.json")}
    (run / "top-0123" / "step000000.json").unlink()
    with pytest.raises(UserError, match=r"step000000\.json \(missing\)"):
        manifest.results_manifest(tmp_path, [], [run], tmp_path / "manifest.json")
    # Planning does not look at what is not asked for: the next start must not meet it again.
    (run / "top-0123" / "index.json").write_text("{}")
    with pytest.raises(UserError, match=r"top-0123/index\.json is damaged.* Start the workflow"):
        manifest.results_manifest(tmp_path, [], [run], tmp_path / "manifest.json")
    manifest.results_manifest(tmp_path, [], [run], tmp_path / "manifest.json")
