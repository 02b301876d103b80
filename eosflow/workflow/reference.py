"""docs/configuration.md, made from the schema: `python -m eosflow.workflow.reference` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from eosflow.datasets import DATASETS
from eosflow.runs.spec import Stop
from eosflow.storage import settings
from eosflow.storage.files import write_text
from eosflow.workflow.schema import SECTIONS, schema

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

HEAD = """# Configuration, key by key

`config.yaml` is the paper. Lay files over it with `--configfile` and single values with `--config`;
how that is done, and what a change makes again, is in [workflow](workflow.md). A wrong key or value
is refused before any work starts. `python -m eosflow.workflow.reference` writes this page.

`network`, `optimizer`, `batch`, `snapshot` and `measure` name what is used. Its settings are in the
tables `networks`, `optimizers`, `batches`, `snapshots` and `measurements`, by the same names. What
stands below `experiments.NAME` counts for that experiment alone. A setting that is not given has
its default, which is the paper's where the paper says one; one that must be given is asked for
where it is used.
"""


def page() -> str:
    """The page as text."""
    whole = schema({})
    experiment = whole["properties"]["experiments"]["additionalProperties"]["properties"]
    parts = [HEAD.rstrip(), "## Keys", _table(_keys(whole, whole["properties"]))]
    parts += ["## An experiment, `experiments.NAME`", _table(_keys(whole, experiment))]
    for name, (table, registry) in SECTIONS.items():
        parts.append(f"## `{name}` and `{table}`")
        parts += [_plugin(f"{table}.{kind}", plugin) for kind, plugin in registry.items()]
    parts.append("## `datasets`")
    parts += [_plugin(f"datasets.{kind}", plugin) for kind, plugin in DATASETS.items()]
    parts += ["## `stop`", _plugin("stop", Stop)]
    return "\n\n".join(parts) + "\n"


def _keys(
    whole: Mapping[str, Any], properties: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for name, rules in properties.items():
        if name in ("seeds", "figures"):
            children = rules["properties"].items()
            yield from _keys(whole, {f"{name}.{key}": child for key, child in children})
        else:
            named = whole["$defs"][rules["$ref"].rpartition("/")[2]] if "$ref" in rules else rules
            yield name, _allowed(named), named["description"]


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    lines = ["| key | allowed | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {allowed} | {meaning} |" for key, allowed, meaning in rows]
    return "\n".join(lines)


def _plugin(path: str, plugin: type[Any]) -> str:
    """A plug-in's first line, and a table of its settings."""
    about = (plugin.__doc__ or "").strip().splitlines()[0]
    title = f"**`{path}`**: {about}"
    properties = settings.schema(plugin)["properties"]
    if not properties:
        return f"{title} No settings."
    lines = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for item in fields(plugin):
        rules = properties[item.name]
        default = "must be given" if item.default is MISSING else f"`{_shown(item.default)}`"
        meaning = rules["description"]
        lines.append(f"| `{item.name}` | {default} | {_allowed(rules)} | {meaning} |")
    return title + "\n\n" + "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return json.dumps(value) if value in (None, "") or isinstance(value, bool) else str(value)


_WORDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "object": "keys with values",
    "string": "text",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _allowed(rules: Mapping[str, Any]) -> str:
    """What JSON Schema allows, in words."""
    if "enum" in rules:
        return ", ".join(f"`{value}`" for value in rules["enum"])
    kinds = rules["type"]
    if kinds == "array":
        items = rules["items"]
        many = {"text": "texts", "whole number": "whole numbers"}
        return "list of " + re.sub("^(text|whole number)", lambda m: many[m[0]], _allowed(items))
    kind = " or ".join(_WORDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
    bounds = [f"{sign} {rules[word]}" for word, sign in _BOUNDS.items() if word in rules]
    return " ".join([kind, ", ".join(bounds)]).strip()


if __name__ == "__main__":
    write_text(PAGE, page())
