"""docs/studies.md, made of the studies' folders and their recorded tables."""

from __future__ import annotations

from pathlib import Path

from eosflow.studies import STUDIES, Study

DOCS = Path(__file__).resolve().parents[2] / "docs"
FRAME = Path(__file__).with_name("page.md")
RECORDED = DOCS / "data" / "studies"  # tables of real runs, by the study's name


def page() -> str:
    """The page: what is hand-written about all studies, with a section for each of them."""
    sections = "\n\n".join(map(section, STUDIES.values()))
    return FRAME.read_text(encoding="utf-8").replace("{studies}", sections)


def section(study: Study) -> str:
    """One study: its heading, its picture, its text, and the verdicts on its recorded table."""
    import pandas as pd

    parts = [f"## {study.words['heading']}: `{study.name}`"]
    picture, table = f"images/{study.name}.png", RECORDED / f"{study.name}.csv"
    if (DOCS / picture).exists():
        parts.append(f"![{study.title}]({picture})")
    parts.append(study.words["text"].strip())
    if not study.judged:
        return "\n\n".join(parts)
    if not table.exists():
        parts.append(
            "Verdicts: **not run**. A picture above is of an earlier version of the study."
        )
        return "\n\n".join(parts)
    verdicts = study.judge(pd.read_csv(table))
    lines = ["| statement | on | source | median | 95 % | seeds | verdict |", "|---" * 7 + "|"]
    for row in verdicts.to_dict("records"):
        says = f": {row['says']}" if row["says"] else ""
        cells = (
            *(row["statement"], row["settings"], f"{row['source']}{says}", f"{row['measured']:g}"),
            *(f"{row['low']:g} to {row['high']:g}", row["seeds"], f"**{row['verdict']}**"),
        )
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    looks = int(verdicts["looks"].iloc[0])
    parts += [
        f"{looks} verdicts, made from [its table](data/studies/{study.name}.csv):",
        "\n".join(lines),
    ]
    return "\n\n".join(parts)
