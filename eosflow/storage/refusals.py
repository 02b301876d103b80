"""What pydantic refuses, in words: the key, what was given, what is allowed, the nearest name."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from eosflow.storage.errors import did_you_mean

# Where pydantic speaks of Python's types, which a configuration does not have.
_WORDS = dict.fromkeys(("dict_type", "model_type"), "Input should be keys with values")
_WORDS["tuple_type"] = "Input should be a list"


def refusals(model: type[BaseModel], error: ValidationError, path: str = "") -> list[str]:
    """A line for each thing that is refused of a model that lies at `path`; each once."""
    lines = (_refusal(model, dict(each), path) for each in error.errors(include_url=False))
    return list(dict.fromkeys(lines))


def _refusal(model: type[BaseModel], error: Mapping[str, Any], path: str) -> str:
    location, kind, context = list(error["loc"]), error["type"], error.get("ctx", {})
    if kind == "refused":
        return _joined(path, [*location, context["line"]])
    below = _below(model, location[:-1])
    if kind == "extra_forbidden":
        allowed = below.model_fields if _is_model(below) else ()
        return unknown_key(_joined(path, location), location[-1], allowed)
    of_key = location[-1:] == ["[key]"]
    if of_key:
        del location[-2:]
        meaning = _of_keys(_below(model, location))
    else:
        field = below.model_fields.get(location[-1]) if location and _is_model(below) else None
        meaning = field.description if field else None
    where, about = _joined(path, location), f" ({meaning})" if meaning else ""
    if kind == "missing":
        return f"{where} is missing{about}."
    if kind == "value_error" and _is_model(_below(model, location)):  # of settings together
        return f"{where}: {context['error']}"
    if kind == "literal_error":
        names = [name.strip("'") for name in context["expected"].replace(" or ", ", ").split(", ")]
        return not_one_of(where, error["input"], names, about)
    message = str(context["error"]) if kind == "value_error" else _WORDS.get(kind, error["msg"])
    return f"{where}: {shown(error['input'])} was given; {message[0].lower()}{message[1:]}{about}."


def unknown_key(where: str, name: str, allowed: Iterable[str]) -> str:
    """What to say of a key that is not one of the `allowed`."""
    known = list(allowed)
    words = f"allowed here: {', '.join(known)}" if known else "take it out"
    return f"{where}: there is no such key; {words}.{did_you_mean(name, known)}"


def not_one_of(where: str, given: Any, names: Iterable[str], about: str = "") -> str:
    """What to say of a value that is not one of `names`."""
    allowed = list(names)
    hint = did_you_mean(given, allowed)
    return f"{where}: {shown(given)} was given; allowed: {', '.join(allowed)}{about}.{hint}"


def _below(model: type[BaseModel], location: Iterable[Any]) -> Any:
    """What a location leads to: a model, another type, or None."""
    below: Any = model
    for part in location:
        if _is_model(below):
            field = below.model_fields.get(part)
            below = field.annotation if field else None
        elif typing.get_origin(below) is dict:
            below = typing.get_args(below)[1]
        if typing.get_origin(below) is not dict:  # of a union, the model
            below = next(filter(_is_model, typing.get_args(below)), below)
    return below


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _of_keys(table: Any) -> str | None:
    """What is said of the keys of a table that are free."""
    facts = (fact for part in typing.get_args(table)[:1] for fact in part.__metadata__)
    return next((fact.description for fact in facts if isinstance(fact, FieldInfo)), None)


def shown(value: Any) -> str:
    """A value as messages show it: text in quotes, the start of what is long."""
    text = f"'{value}'" if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _joined(path: str, location: Iterable[Any]) -> str:
    """Such as `optimizers.adam.beta1`."""
    return ".".join([*([path] if path else []), *map(str, location)]) or "the configuration"
