"""Names from files become paths: none leaves its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eosflow.storage.paths import inside

FOLDER = Path("/results/here")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", "../here", "a/../../b", "/etc/passwd", "//etc", "a\0b", 5, None, ["a"]],
)
def test_what_is_no_name_inside_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"file name|inside the folder"):
        inside(FOLDER, name)


def test_names_inside_are_joined_and_normalised() -> None:
    assert inside(FOLDER, "a/b.json") == FOLDER / "a/b.json"
    assert inside(FOLDER, "provenance/../table1.csv") == FOLDER / "table1.csv"
    assert inside(FOLDER, "..a/...") == FOLDER / "..a/..."


@given(st.text(alphabet="./\\ab\0 ", max_size=12))
def test_no_text_leads_out(name: str) -> None:
    try:
        path = inside(FOLDER, name)
    except ValueError:
        return
    assert FOLDER in path.parents
    assert ".." not in path.parts
