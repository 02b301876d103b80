"""docs/studies.md, made of the studies' folders; `make generate` writes it."""

from __future__ import annotations

from pathlib import Path

from eosflow.studies import STUDIES, Study

DOCS = Path(__file__).resolve().parents[2] / "docs"
FRAME = Path(__file__).with_name("page.md")


def page() -> str:
    """The page: what is hand-written about all studies, with a section for each of them."""
    sections = "\n\n".join(map(section, STUDIES.values()))
    return FRAME.read_text(encoding="utf-8").replace("{studies}", sections)


def section(study: Study) -> str:
    """One study: its heading, its picture if there is one, its text."""
    picture = f"images/{study.name}.png"
    shown = [f"![{study.title}]({picture})"] if (DOCS / picture).exists() else []
    parts = [f"## {study.words['heading']}: `{study.name}`", *shown, study.words["text"].strip()]
    return "\n\n".join(parts)
