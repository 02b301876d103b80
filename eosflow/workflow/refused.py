"""What the schema refuses, in words: the key, what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema

from eosflow.workflow.places import shown
from eosflow.workflow.schema import schema

# Where the keys of an earlier form have gone.
MOVED = {
    "solver": "The solver is now `optimizer: exponential-euler`; its settings are below "
    "optimizers.exponential-euler, and max_iterations is below stop.",
    "snapshots.every": "It is now snapshots.iterations.every.",
    "snapshots.also": "It is now snapshots.iterations.also.",
    "network": "The settings of a network are now below networks, such as networks.mlp.width.",
}

_KIND_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "keys with values",
    "string": "text",
}


def validator(config: Mapping[str, Any]) -> Any:
    """What compares a config with its schema."""
    datasets = config.get("datasets")
    rules = schema(datasets if isinstance(datasets, Mapping) else {})
    return jsonschema.Draft202012Validator(rules)


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """A line for each key or value that the schema does not allow."""
    rules = validator(config)
    errors = rules.iter_errors(config)
    for error in sorted(errors, key=lambda error: list(map(str, error.absolute_path))):
        path = ".".join(str(part) for part in error.absolute_path)
        match error.validator:
            case "additionalProperties":
                yield from _unknown_keys(error, path, rules.schema)
            case "required":
                missing = [key for key in error.validator_value if key not in error.instance]
                verb = "is" if len(missing) == 1 else "are"
                yield f"{path or 'the config'}: {joined(missing)} {verb} missing; see config.yaml."
            case _:
                yield _refused_value(error, path)


def _unknown_keys(error: Any, path: str, whole: Mapping[str, Any]) -> Iterator[str]:
    legal = list(error.schema.get("properties", {}))
    for key in error.instance:
        if key in legal:
            continue
        full = f"{path}.{key}" if path else str(key)
        elsewhere = [known for known in _all_keys(whole) if known.split(".")[-1] == key]
        near = difflib.get_close_matches(str(key), legal, n=1)
        if full in MOVED:
            hint = MOVED[full]
        elif near:
            hint = f"Did you mean {near[0]}?"
        elif elsewhere:
            hint = f"It belongs to {joined(elsewhere, 'or')}."
        else:
            hint = "Remove it."
        if path == "datasets":
            hint += " Data of your own say what they are with `kind: table`."
        allowed = f"allowed here: {', '.join(legal)}" if legal else "no key is allowed here"
        yield f"{full}: there is no such key; {allowed}. {hint}"


def _all_keys(whole: Mapping[str, Any]) -> tuple[str, ...]:
    """Every legal key with its path; `EXPERIMENT` stands for the name of an experiment."""

    def below(part: Mapping[str, Any], path: str) -> Iterator[str]:
        children = dict(part.get("properties", {}))
        if path == "experiments." and isinstance(part.get("additionalProperties"), dict):
            children["EXPERIMENT"] = part["additionalProperties"]
        for key, child in children.items():
            yield f"{path}{key}"
            if "$ref" not in child:
                yield from below(child, f"{path}{key}.")

    return tuple(below(whole, ""))


def _refused_value(error: Any, path: str) -> str:
    given = shown(error.instance)
    meaning = error.schema.get("description")
    about = f" ({meaning})" if meaning else ""
    hint = f" {MOVED[path]}" if path in MOVED and isinstance(error.instance, Mapping) else ""
    if error.validator == "enum" and isinstance(error.instance, str):
        near = difflib.get_close_matches(error.instance, map(str, error.validator_value), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
    return f"{path or 'the config'}: {given} was given; {_allowed(error)}{about}.{hint}"


def _allowed(error: Any) -> str:
    value = error.validator_value
    match error.validator:
        case "enum":
            return f"allowed: {', '.join(map(str, value))}"
        case "type":
            kinds = [value] if isinstance(value, str) else value
            return f"it must be {' or '.join(_KIND_NAMES[kind] for kind in kinds)}"
        case "minimum":
            return f"it must be at least {value}"
        case "maximum":
            return f"it must be at most {value}"
        case "exclusiveMinimum":
            return f"it must be greater than {value}"
        case "exclusiveMaximum":
            return f"it must be less than {value}"
        case "uniqueItems":
            return "no entry may occur twice"
        case "minItems" | "minLength" | "minProperties":
            return "it must not be empty"
        case "pattern":
            return f"it must match {value}"
    return str(error.message)


def joined(names: Iterable[Any], last: str = "and") -> str:
    """Such as `a, b and c`."""
    *most, final = map(str, names)
    return f"{', '.join(most)} {last} {final}" if most else final
