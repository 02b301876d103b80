"""docs/studies.md and docs/data/verdicts.csv, of the studies' folders and their recorded tables."""

from __future__ import annotations

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


def verdicts() -> str:
    """All verdicts on the recorded tables, as CSV with a first column `study`."""
    import pandas as pd

    judged = {s.name: frame for s in STUDIES.values() if (frame := _judged(s)) is not None}
    return pd.concat(judged, names=["study"]).droplevel(1).to_csv()


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
        looks = int(judged["looks"].iloc[0])
        link = f"data/verdicts.csv#{study.name}"
        parts.append(f"{statements} statements: [{looks} verdicts]({link}).")
    elif study.judged:
        older = " The picture is of an earlier version of the study." * drawn
        parts.append(f"Verdicts: **not run**.{older}")
    return "\n\n".join(parts)


def _judged(study: Study) -> pd.DataFrame | None:
    """The verdicts on a study's recorded table; None without claims or without a table."""
    import pandas as pd

    table = RECORDED / f"{study.name}.csv"
    return study.judge(pd.read_csv(table)) if study.judged and table.exists() else None
