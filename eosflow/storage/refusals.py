"""What pydantic refuses, in words: the key, what was given, what is allowed, the nearest name."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from eosflow.storage.errors import did_you_mean

_KINDS = {
    "bool": "true or false",
    "dict": "keys with values",
    "finite_number": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "keys with values",
    "string": "text",
    "tuple": "a list",
}
_BOUNDS = {
    "greater_than": "it must be greater than {gt:.12g}",
    "greater_than_equal": "it must be at least {ge:.12g}",
    "less_than": "it must be less than {lt:.12g}",
    "less_than_equal": "it must be at most {le:.12g}",
    "string_pattern_mismatch": "it must match {pattern}",
    "string_too_long": "it must have at most {max_length} characters",
}


def refusals(
    model: type[BaseModel], error: ValidationError, path: str = "", partial: bool = False
) -> list[str]:
    """A line for each thing that is refused of a model that lies at `path`; each once.

    `partial`: that a setting is missing is no mistake.
    """
    lines: list[str] = []
    missing: dict[tuple[Any, ...], list[str]] = {}
    for each in error.errors(include_url=False):
        *most, last = each["loc"] or ("",)
        if each["type"] == "refused":
            lines.append(joined_path(path, [*each["loc"], each["ctx"]["line"]]))
        elif each["type"] == "missing":
            missing.setdefault(tuple(most), []).append(str(last))
        elif each["type"] == "extra_forbidden":
            lines.append(_unknown(model, each["loc"], path))
        else:
            lines.append(_refused(model, dict(each), path))
    for location, names in missing.items() if not partial else ():
        verb = "is" if len(names) == 1 else "are"
        lines.append(f"{joined_path(path, location)}: {joined(names)} {verb} missing.")
    return list(dict.fromkeys(lines))


def _refused(model: type[BaseModel], error: dict[str, Any], path: str) -> str:
    location = [part for part in error["loc"] if part != "[key]"]
    is_key = len(location) < len(error["loc"])
    field = located(model, location[:-1] if is_key else location)[0]
    where = joined_path(path, location[:-1] if is_key else location)
    if error["type"] == "value_error" and field is None:  # of several settings together
        return f"{where}: {error['ctx']['error']}"
    meaning = _of_keys(field) if is_key else field and field.description
    about = f" ({meaning})" if meaning else ""
    given = f"{shown(error['input'])} was given"
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"].replace(" or ", ", ")
        names = [name.strip("'") for name in expected.split(", ")]
        hint = did_you_mean(error["input"], names)
        return f"{where}: {given}; allowed: {', '.join(names)}{about}.{hint}"
    return f"{where}: {given}; {_allowed(error, field)}{about}."


def _of_keys(field: FieldInfo | None) -> str | None:
    """What is said of the keys of a table that are free."""
    parts = typing.get_args(field.annotation)[:1] if field else ()
    facts = (fact for part in parts for fact in getattr(part, "__metadata__", ()))
    return next((fact.description for fact in facts if isinstance(fact, FieldInfo)), None)


def _allowed(error: Mapping[str, Any], field: FieldInfo | None) -> str:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    if kind.endswith("too_short"):
        return "it must not be empty"
    words = next((text for start, text in _KINDS.items() if kind.startswith(start)), None)
    if words is None:
        return str(error["msg"])
    optional = field is not None and type(None) in typing.get_args(field.annotation)
    return f"it must be {words}{' or null' if optional else ''}"


def _unknown(model: type[BaseModel], location: tuple[Any, ...], path: str) -> str:
    legal, name = keys(located(model, location[:-1])[1]), str(location[-1])
    hint = did_you_mean(name, legal)
    if not hint:
        elsewhere = [known for known in all_keys(model) if known.rpartition(".")[2] == name]
        hint = f" It belongs to {joined(elsewhere, 'or')}." if elsewhere else ""
    allowed = f"allowed here: {', '.join(legal)}" if legal else "take it out"
    return f"{joined_path(path, location)}: there is no such key; {allowed}.{hint}"


def located(model: type[BaseModel], location: Iterable[Any]) -> tuple[FieldInfo | None, Any]:
    """What a location leads to: the nearest field, None at the top, and what lies below it.

    Below lies a model, a mapping of names to models, or None.
    """
    field: FieldInfo | None = None
    below: Any = model
    for part in location:
        if _is_model(below):
            known = below.model_fields.get(part)
            if known is None:
                return None, None
            field, below = known, _below(known)
        elif isinstance(below, Mapping):
            below = below.get(part)
            field = None
        elif typing.get_origin(below) is dict:
            below = typing.get_args(below)[1]
            field = None
            below = below if _is_model(below) else None
    return field, below


def _below(field: FieldInfo) -> Any:
    for each in field.metadata:
        if isinstance(each, Mapping):
            return each
    kinds = typing.get_args(field.annotation) if _is_union(field.annotation) else ()
    for kind in (field.annotation, *kinds):
        if _is_model(kind):
            return kind
    return field.annotation if typing.get_origin(field.annotation) is dict else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def keys(below: Any) -> list[str]:
    """The names that are allowed there."""
    if _is_model(below):
        return list(below.model_fields)
    return list(below) if isinstance(below, Mapping) else []


def all_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every legal key with its path; NAME stands for a name that is free."""

    def walk(below: Any, path: str) -> Iterator[str]:
        for name in keys(below):
            yield path + name
            yield from walk(found_below(below, name), f"{path}{name}.")
        if typing.get_origin(below) is dict:
            yield from walk(typing.get_args(below)[1], f"{path}NAME.")

    def found_below(below: Any, name: str) -> Any:
        return below[name] if isinstance(below, Mapping) else _below(below.model_fields[name])

    return walk(model, "")


def shown(value: Any) -> str:
    """A value as messages show it: text in quotes, the start of what is long."""
    text = f"'{value}'" if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def joined(names: Iterable[Any], last: str = "and") -> str:
    """Such as `a, b and c`."""
    *most, final = map(str, names)
    return f"{', '.join(most)} {last} {final}" if most else final


def joined_path(path: str, location: Iterable[Any]) -> str:
    """Such as `optimizers.adam.beta1`."""
    return ".".join([*([path] if path else []), *map(str, location)]) or "the configuration"
