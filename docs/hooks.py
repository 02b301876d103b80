"""What `make docs` does beyond MkDocs: registries' docstrings, notebooks and verdicts as pages."""

from __future__ import annotations

import ast
import importlib
import json
import re
from typing import Any

import griffe
import pandas as pd
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import eosflow

# `::: eosflow.optimizers:OPTIMIZERS` stands for every class in that registry.
REGISTRY = re.compile(r"^::: ([\w.]+):(\w+)$", re.MULTILINE)
# Docstrings are Markdown, in which an example is code only between fences.
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


def on_config(config: MkDocsConfig) -> None:
    """Name the version at the foot of every page."""
    config.copyright = f"eosflow {eosflow.__version__}"


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for each notebook, beside the notebook itself, and one of all verdicts."""
    for file in list(files):
        if file.src_uri == "data/verdicts.csv":
            verdicts = _verdicts(pd.read_csv(file.abs_src_path))
            files.append(File.generated(config, "verdicts.md", content=verdicts))
        if file.src_uri.endswith(".ipynb"):
            name = file.src_uri.removesuffix(".ipynb")
            files.append(File.generated(config, f"{name}.md", content=_page(file.content_string)))


def _verdicts(judged: pd.DataFrame) -> str:
    """Each statement above a table with a row for each setting."""
    parts = ["# Verdicts of the studies", "The [studies](studies.md) say how they are reached."]
    for study, in_study in judged.fillna({"says": ""}).groupby("study", sort=False):
        parts.append(f"## {study}")
        looks = in_study["looks"].iloc[0]
        parts.append(f"{looks} verdicts from [its table](data/studies/{study}.csv).")
        of_statement = in_study.groupby(["statement", "source", "says"], sort=False)
        for (statement, source, says), rows in of_statement:
            parts.append(f"*{statement}* {source}{f': {says}' if says else ''}")
            lines = ["| on | median [95 %] | seeds | verdict |", "|---|---|---|---|"]
            parts.append("\n".join([*lines, *map(_verdict, rows.to_dict("records"))]))
    return "\n\n".join(parts)


def _verdict(row: dict[str, Any]) -> str:
    interval = f" [{row['low']:g}, {row['high']:g}]" * (row["low"] == row["low"])
    settings = row["settings"].replace("|", "\\|")
    cells = (settings, f"{row['measured']:g}{interval}", row["seeds"], f"**{row['verdict']}**")
    return f"| {' | '.join(map(str, cells))} |"


def _page(notebook: str) -> str:
    """A notebook as Markdown, with what its cells have put out."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![What the cell draws](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        # Without its style and classes the theme draws a table as its own.
        plain = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        return re.sub(r"<(table|tr|th|div)\b[^>]*>", r"<\1>", plain)
    return f"```text\n{''.join(output.get('text', data.get('text/plain', ''))).rstrip()}\n```"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page before mkdocstrings reads it: a line for each class of a registry."""
    linked = re.sub(r"\((notebooks/[\w-]+)\.ipynb\)", r"(\1.md)", markdown)
    linked = re.sub(r"\(data/verdicts\.csv(#[\w-]+)?\)", r"(verdicts.md\1)", linked)
    return REGISTRY.sub(_directives, linked)


def _directives(named: re.Match[str]) -> str:
    registry = getattr(importlib.import_module(named[1]), named[2])
    return "\n\n".join(f"::: {kind.__module__}.{kind.__name__}" for kind in registry.values())


class Docstrings(griffe.Extension):
    """Shows settings by their default and meaning, and puts fences around examples."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """A field that `setting` declares: its default, and what it is about as its docstring."""
        call = attr.value
        if not (isinstance(call, griffe.ExprCall) and str(call.function) == "setting"):
            return
        named = {a.name: a.value for a in call.arguments if isinstance(a, griffe.ExprKeyword)}
        first = call.arguments[0]
        attr.value = None if isinstance(first, griffe.ExprKeyword) else first
        attr.docstring = griffe.Docstring(ast.literal_eval(str(named["about"])), parent=attr)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Whatever has a docstring."""
        if obj.docstring:
            fenced = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value)
            obj.docstring.value = fenced
