"""The pages say what is there: functions, files and commands they name exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_every_equation_names_a_function_that_exists_and_says_so() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (E\d+) \| .* \| (.*) \|$", text, re.MULTILINE)
    assert [number for number, _ in rows] == [f"E{number}" for number in range(18)]
    for number, place in rows:
        if number == "E9":  # a reference, computed in a test only
            continue
        module, _, name = place.strip("`").rpartition(".")
        if module.rpartition(".")[2][0].isupper():  # a method
            module, _, owner = module.rpartition(".")
            target = getattr(getattr(importlib.import_module(module), owner), name)
        else:
            target = getattr(importlib.import_module(module), name)
        assert target.__doc__, place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]+)", page.read_text(encoding="utf-8"), re.M))
    assert named <= targets, f"{page.name} names {named - targets}"
