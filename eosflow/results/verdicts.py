"""How pages show verdicts: on the paper's claims, and on what the sources of studies say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from eosflow.analysis.claims import (
    AS_EXPECTED,
    CONTRADICTED,
    HOLDS,
    NOT_JUDGED,
    UNEXPECTED,
    VERDICTS,
    Kind,
)
from eosflow.results.claim_measures import CLAIMS

MARKS = {HOLDS: "✓", AS_EXPECTED: "✓", CONTRADICTED: "✗", UNEXPECTED: "✗", NOT_JUDGED: "–"}
LOOKS = {"✓": "holds", "✗": "contradicted", "–": "unjudged", "?": "open"}
# The run that a claim's number is of.
_LARGEST = {name for name, claim in CLAIMS.items() if claim.kind in (Kind.SOME, Kind.SEEN)}
# `A_1` and `H_ℓ^½`, but neither the names of files nor those of experiments.
_SCRIPT = re.compile(r"(?<=[\w\]])([_^])(\w+|½)(?![\w/])")
_SIZE = re.compile(r"^(N = \d+) ")
_MEASURED = " Measured: "


def mark(verdict: str) -> str:
    """The sign of a verdict: ✓, ✗, – of what is not judged, else ?"""
    return MARKS.get(verdict, "?")


def look(verdict: str) -> str:
    """The CSS class of a verdict."""
    return LOOKS[mark(verdict)]


def symbols(text: str) -> Markup:
    """Text as HTML, with `A_1` as A with an index and `H^½` with an exponent."""
    tags = {"_": "sub", "^": "sup"}

    def tagged(match: re.Match[str]) -> str:
        tag = tags[match[1]]
        return f"<{tag}>{match[2]}</{tag}>"

    return Markup(_SCRIPT.sub(tagged, str(escape(text))))


def counts(verdicts: Iterable[str]) -> dict[str, int]:
    """How many there are of each verdict, of those that occur."""
    counted = Counter(verdicts)
    return {verdict: counted[verdict] for verdict in (*VERDICTS, NOT_JUDGED) if counted[verdict]}


def of_paper(
    table: pd.DataFrame, titles: Mapping[str, str]
) -> tuple[list[dict[Any, Any]], str | None]:
    """The rows of claims.csv for the page, and the settings that most of them share.

    A row has its columns, empty if missing, `which` run its number is of, and `groups`, what is
    said of each experiment, with their `titles`; its settings are empty if they are the shared.
    """
    rows = table.astype(object).fillna("").to_dict("records")
    settings = Counter(row["settings"] for row in rows if row["settings"])
    shared = settings.most_common(1)[0][0] if settings else None
    for row in rows:
        row["which"] = "largest" if row["claim"] in _LARGEST else "worst run"
        row["groups"] = _titled(row["by_experiment"], titles)
        row["earlier"] = _titled(row["earlier"], titles)
        row["settings"] = "" if row["settings"] == shared else row["settings"]
    return rows, shared


def _titled(text: str, titles: Mapping[str, str]) -> list[str]:
    """The parts of a text that each begin with the name of an experiment."""
    parts = [part.partition(" ") for part in text.split("; ") if part]
    named = [(titles.get(name, name), _SIZE.sub(r"\1, ", rest)) for name, _, rest in parts]
    return [f"{name}: {rest}" for name, rest in named]


def of_study(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The statements of a study's claims.csv, each with its source and its `rows`, in their order.

    `words` is what is said, `measured` by what number it is judged, and when it holds.
    """
    statements: list[dict[str, Any]] = []
    of_statement = ["statement", "source", "says"]
    for key, rows in (
        table.astype({"says": object}).fillna({"says": ""}).groupby(of_statement, sort=False)
    ):
        statement, source, says = map(str, key)
        words, _, measured = statement.partition(_MEASURED)
        facts = {"words": words, "measured": measured, "source": source, "says": says}
        statements.append({**facts, "rows": rows.to_dict("records")})
    return statements
