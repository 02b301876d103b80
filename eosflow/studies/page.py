"""docs/studies.md, made of the studies' folders and their recorded tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from eosflow.studies import STUDIES, Study

if TYPE_CHECKING:
    import pandas as pd

DOCS = Path(__file__).resolve().parents[2] / "docs"
FRAME = Path(__file__).with_name("page.md")
RECORDED = DOCS / "data" / "studies"  # tables of real runs, by the study's name


def page() -> str:
    """The page: what is hand-written about all studies, with a section for each of them."""
    sections = "\n\n".join(map(section, STUDIES.values()))
    return FRAME.read_text(encoding="utf-8").replace("{studies}", sections)


def section(study: Study) -> str:
    """One study: its title, its picture, its text, and the verdicts on its recorded table."""
    import pandas as pd

    parts = [f"## {study.title} (`{study.name}`)"]
    picture, table = f"images/{study.name}.png", RECORDED / f"{study.name}.csv"
    drawn = (DOCS / picture).exists()
    if drawn:
        parts.append(f"![{study.name}]({picture})")
    parts.append(study.words["text"].strip())
    if not study.judged:
        return "\n\n".join(parts)
    if not table.exists():
        older = " The picture is of an earlier version of the study." * drawn
        parts.append(f"Verdicts: **not run**.{older}")
        return "\n\n".join(parts)
    verdicts = study.judge(pd.read_csv(table))
    looks = int(verdicts["looks"].iloc[0])
    parts += [
        f"{looks} verdicts from [its table](data/studies/{study.name}.csv):",
        "\n".join(_table(verdicts)),
    ]
    return "\n\n".join(parts)


def _table(verdicts: pd.DataFrame) -> list[str]:
    """A row for each statement with its source, and below it one for each setting."""
    lines = ["| on | median [95 %] | seeds | verdict |", "|---|---|---|---|"]
    of_statement = verdicts.fillna({"says": ""}).groupby(
        ["statement", "source", "says"], sort=False
    )
    for (statement, source, says), rows in of_statement:
        said = f"*{statement}* {source}{f': {says}' if says else ''}"
        lines.append(f"| {_cell(said)} | | | |")
        for row in rows.to_dict("records"):
            interval = "" if math.isnan(row["low"]) else f" [{row['low']:g}, {row['high']:g}]"
            cells = f"{row['measured']:g}{interval} | {row['seeds']} | **{row['verdict']}**"
            lines.append(f"| {_cell(row['settings'])} | {cells} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
