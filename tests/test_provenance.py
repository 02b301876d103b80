"""Records of what was made: found again where the results have moved, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from eosflow.storage import provenance
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
    provenance.results_manifest(moved, [], moved / "manifest.json")
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
        provenance.results_manifest(tmp_path / "results", [], tmp_path / "manifest.json")
    assert record.exists()
