"""docs/configuration.md, made from the models of the configuration; `make generate` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from eosflow.datasets import DATASETS
from eosflow.optimizers.wraps import WRAPS
from eosflow.runs.spec import Stop
from eosflow.storage.settings import Plugin, Settings
from eosflow.workflow.schema import SECTIONS, Choices, Config, Experiment

HEAD = """# Configuration, key by key

`config.yaml` is the paper. `--configfile` overrides it with files, `--config` with single values
([workflow](workflow.md#configuration)). A wrong key or value is refused before any work starts.
`make generate` writes this page.

`network`, `optimizer`, `batch`, `snapshot` and `measure` choose parts by name. Their settings are
in `networks`, `optimizers`, `batches`, `snapshots` and `measurements`, by the same names. Keys
below `experiments.NAME` apply only to that experiment. Defaults are the paper's values if the paper
states them; a key without a default must be given.
"""


WRAP = """`wrap` of a gradient optimizer is a list of rules that modify its gradient, each with its
name and its settings. Optimizers such as `adam-sam` are short for an optimizer with one of them."""
EXPERIMENT = """An experiment may also have its own `network`, `networks`, `optimizer`, … `stop`,
with the same meaning as above, and in a study its own `measure`."""


def page() -> str:
    """The page as text."""
    own = [name for name in Config.model_fields if name not in Choices.model_fields]
    of_runs = [name for name in Experiment.model_fields if name not in Choices.model_fields]
    parts = [HEAD.rstrip(), "## Keys", _table(_keys(Config, [*own, *Choices.model_fields]))]
    parts += [
        "## An experiment, `experiments.NAME`",
        EXPERIMENT,
        _table(_keys(Experiment, of_runs)),
    ]
    for name, (table, registry) in SECTIONS.items():
        parts.append(f"## `{name}` and `{table}`")
        parts += [_plugin(f"{table}.{kind}", plugin) for kind, plugin in registry.items()]
        if name == "optimizer":
            parts.append(WRAP)
            parts += [_plugin(f"wrap: [{{name: {kind}}}]", each) for kind, each in WRAPS.items()]
    parts.append("## `datasets`")
    parts += [_plugin(f"datasets.{kind}", plugin) for kind, plugin in DATASETS.items()]
    parts += ["## `stop`", _plugin("stop", Stop)]
    return "\n\n".join(parts) + "\n"


def _keys(model: type[BaseModel], names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Each key with what is allowed and what it means; of small groups, those of the group."""
    whole = model.model_json_schema()
    for name in names:
        field, rules = model.model_fields[name], whole["properties"][name]
        group = _group(field.annotation)
        if group is not None:
            for key, allowed, meaning in _keys(group, group.model_fields):
                yield f"{name}.{key}", allowed, meaning
        else:
            yield name, _allowed(rules), field.description or ""


def _group(kind: Any) -> type[BaseModel] | None:
    """The model of a group of keys that has no section."""
    for part in (kind, *(get_args(kind) if get_origin(kind) is not dict else ())):
        if isinstance(part, type) and issubclass(part, Settings) and not issubclass(part, Plugin):
            return part
    return None


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    lines = ["| key | allowed | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {allowed} | {meaning} |" for key, allowed, meaning in rows]
    return "\n".join(lines)


def _plugin(path: str, plugin: type[Plugin]) -> str:
    """A plug-in's first line, and a table of its settings."""
    about = (plugin.__doc__ or "").strip().splitlines()[0]
    title = f"**`{path}`**: {about}"
    if not plugin.model_fields:
        return f"{title} No settings."
    properties = plugin.model_json_schema()["properties"]
    lines = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in plugin.model_fields.items():
        default = "must be given" if field.is_required() else f"`{_shown(field.default)}`"
        lines.append(
            f"| `{name}` | {default} | {_allowed(properties[name])} | {field.description} |"
        )
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
    if "anyOf" in rules:
        return " or ".join(_allowed(part) for part in rules["anyOf"])
    if "$ref" in rules:
        return _WORDS["object"]
    if "enum" in rules or "const" in rules:
        return ", ".join(f"`{value}`" for value in rules.get("enum", [rules.get("const")]))
    if rules["type"] == "array":
        many = {"text": "texts", "whole number": "whole numbers", "number": "numbers"}
        items = _allowed(rules["items"])
        return "list of " + re.sub("^(text|whole number|number)", lambda m: many[m[0]], items)
    bounds = [f"{sign} {rules[word]:.12g}" for word, sign in _BOUNDS.items() if word in rules]
    return " ".join([_WORDS[rules["type"]], ", ".join(bounds)]).strip()
