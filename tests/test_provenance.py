"""Records of what was made: found again where the results have moved, and nothing else touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
