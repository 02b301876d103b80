"""Settings of a plug-in, declared once, as the fields of a frozen dataclass.

From the fields follow their part of the config's schema, the defaults and what a run's record
holds. A plug-in is such a class with a `name`; a registry maps names to classes. Standard library
only.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_KINDS = {int: "integer", float: "number", str: "string", bool: "boolean"}


def setting(default: Any = MISSING, *, about: str, in_key: bool = True, **schema: Any) -> Any:
    """One setting: a dataclass field with its description and what JSON Schema allows of it.

    Without a default it must be given. The default may never change: a run's key leaves out what
    is at its default. `in_key` is false for words that change no number, such as a title. `schema`
    takes JSON Schema words, such as minimum=1 or enum=["a", "b"].
    """
    metadata = {"schema": {"description": about, **schema}, "in_key": in_key}
    return field(default=default, metadata=metadata)


def schema(plugin: type[Any]) -> dict[str, Any]:
    """The JSON Schema of a plug-in's settings in the config; unknown names are refused."""
    hints = _hints(plugin)
    properties, required = {}, []
    for item in fields(plugin):
        properties[item.name] = {**_kind(hints[item.name]), **item.metadata["schema"]}
        if item.default is MISSING:
            required.append(item.name)
    rules = {"type": "object", "additionalProperties": False, "properties": properties}
    return rules | ({"required": required} if required else {})


def _kind(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _kind(typing.get_args(hint)[0])}
    if isinstance(hint, types.UnionType):  # such as int | None
        kinds = [_kind(part)["type"] for part in typing.get_args(hint) if part is not type(None)]
        return {"type": [*kinds, "null"]}
    return {"type": _KINDS[hint]}


def make(registry: Mapping[str, type[T]], name: str, settings: Mapping[str, Any]) -> T:
    """The plug-in `name` with these settings; lists become tuples, whole numbers floats.

    Raises: KeyError for a name that is not in the registry, TypeError for a setting that is
    missing or unknown. The config is checked before, with messages for people.
    """
    plugin = registry[name]
    hints = _hints(plugin)
    values = {key: _typed(value, hints.get(key)) for key, value in settings.items()}
    return plugin(**values)


def _typed(value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    wants_float = hint is float or float in typing.get_args(hint)
    if wants_float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def record(plugin: Any) -> dict[str, Any]:
    """The plug-in as a JSON object: its `name`, then every setting."""
    return {"name": plugin.name, **{f.name: _plain(getattr(plugin, f.name)) for f in _of(plugin)}}


def same(plugin: Any, stored: Any) -> bool:
    """Whether `stored`, settings of this kind from a record, are the plug-in's.

    A record from before a setting was added does not name it: it is at its default.
    """
    if not isinstance(stored, Mapping):
        return False
    missing = {f.name: _plain(f.default) for f in _of(plugin) if f.default is not MISSING}
    return {"name": plugin.name, **missing, **stored} == record(plugin)


def brief(plugin: Any) -> dict[str, Any]:
    """The plug-in's `name` and the settings that are not at their default."""
    return {"name": plugin.name, **_changed(plugin, _of(plugin))}


def essence(plugin: Any) -> dict[str, Any]:
    """What a key is made of: `brief` without the settings that change no number."""
    counted = (item for item in _of(plugin) if item.metadata["in_key"])
    return {"name": plugin.name, **_changed(plugin, counted)}


def _changed(plugin: Any, items: Iterable[Any]) -> dict[str, Any]:
    values = ((item, getattr(plugin, item.name)) for item in items)
    return {item.name: _plain(value) for item, value in values if value != item.default}


def from_record(registry: Mapping[str, type[T]], stored: Mapping[str, Any]) -> T:
    """The plug-in that `record` or `brief` wrote. Raises: as `make`."""
    settings = dict(stored)
    return make(registry, settings.pop("name"), settings)


# Planning makes hundreds of records; what a class says of its fields never changes.
_FIELDS: dict[type[Any], tuple[Any, ...]] = {}
_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints(plugin: type[Any]) -> dict[str, Any]:
    if plugin not in _HINTS:
        _HINTS[plugin] = typing.get_type_hints(plugin)
    return _HINTS[plugin]


def _of(plugin: Any) -> tuple[Any, ...]:
    kind = type(plugin)
    if kind not in _FIELDS:
        _FIELDS[kind] = fields(kind)
    return _FIELDS[kind]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
