"""docs/studies.md and docs/verdicts.md, of the studies' folders and their recorded tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from eosflow.studies import STUDIES, Study

if TYPE_CHECKING:
    import pandas as pd

DOCS = Path(__file__).resolve().parents[2] / "docs"
FRAME = Path(__file__).with_name("page.md")
VERDICTS = Path(__file__).with_name("verdicts.md")
RECORDED = DOCS / "data" / "studies"  # tables of real runs, by the study's name


def page() -> str:
    """The page: what is hand-written about all studies, with a section for each of them."""
    sections = "\n\n".join(map(section, STUDIES.values()))
    return FRAME.read_text(encoding="utf-8").replace("{studies}", sections)


def verdicts() -> str:
    """All verdicts on the recorded tables, with the statements that they judge."""
    parts = [VERDICTS.read_text(encoding="utf-8").strip()]
    for study in STUDIES.values():
        if (judged := _judged(study)) is not None:
            parts += [
                f"## {study.name}",
                f"{_count(judged)} from [its table](data/studies/{study.name}.csv).",
                "\n".join(_table(judged)),
            ]
    return "\n\n".join(parts) + "\n"


def section(study: Study) -> str:
    """One study: its title, its picture, its text, and where its verdicts are."""
    parts = [f"## {study.title} (`{study.name}`)"]
    picture = f"images/{study.name}.png"
    drawn = (DOCS / picture).exists()
    if drawn:
        parts.append(f"![{study.name}]({picture})")
    parts.append(study.words["text"].strip())
    if (judged := _judged(study)) is not None:
        statements = judged["statement"].nunique()
        parts.append(f"{statements} statements: [{_count(judged)}](verdicts.md#{study.name}).")
    elif study.judged:
        older = " The picture is of an earlier version of the study." * drawn
        parts.append(f"Verdicts: **not run**.{older}")
    return "\n\n".join(parts)


def _judged(study: Study) -> pd.DataFrame | None:
    """The verdicts on a study's recorded table; None without claims or without a table."""
    import pandas as pd

    table = RECORDED / f"{study.name}.csv"
    return study.judge(pd.read_csv(table)) if study.judged and table.exists() else None


def _count(judged: pd.DataFrame) -> str:
    return f"{int(judged['looks'].iloc[0])} verdicts"


def _table(judged: pd.DataFrame) -> list[str]:
    """Each statement with its source, and below it a table with a row for each setting."""
    lines: list[str] = []
    of_statement = judged.fillna({"says": ""}).groupby(["statement", "source", "says"], sort=False)
    for (statement, source, says), rows in of_statement:
        lines += ["", f"*{statement}* {source}{f': {says}' if says else ''}", ""]
        lines += ["| on | median [95 %] | seeds | verdict |", "|---|---|---|---|"]
        for row in rows.to_dict("records"):
            interval = "" if math.isnan(row["low"]) else f" [{row['low']:g}, {row['high']:g}]"
            cells = f"{row['measured']:g}{interval} | {row['seeds']} | **{row['verdict']}**"
            on = row["settings"].replace("|", "\\|")
            lines.append(f"| {on} | {cells} |")
    return lines[1:]
