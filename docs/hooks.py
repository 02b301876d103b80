"""What `make docs` does beyond MkDocs: it puts the docstrings of whole registries into api.md."""

from __future__ import annotations

import ast
import importlib
import re
from typing import Any

import griffe

# `::: eosflow.optimizers:OPTIMIZERS` stands for every class in that registry.
REGISTRY = re.compile(r"^::: ([\w.]+):(\w+)$", re.MULTILINE)
# Docstrings are Markdown, in which an example is code only between fences.
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page before mkdocstrings reads it: a line for each class of a registry."""
    return REGISTRY.sub(_directives, markdown)


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
