"""What a config may say, and a message that helps for everything else. No science, fast to import.

`config/schema.yaml` holds the rules for single keys; `check` adds those that need several.
"""

from __future__ import annotations

import copy
import difflib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from eosflow.datasets.catalog import CATALOG, pool_size
from eosflow.storage.errors import UserError

SCHEMA = Path(__file__).resolve().parents[2] / "config" / "schema.yaml"

# What rounding leaves of a relative residual is a few times 1e-6 in float32.
FLOAT32_TOLERANCE = 1e-5

_KIND_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "keys with values",
    "string": "text",
}


def load(paths: Iterable[Path | str], overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read config files, later ones on top, then `overrides`, as Snakemake does; then `clean`.

    Raises: UserError where a file cannot be read, or its values are not allowed.
    """
    merged: dict[str, Any] = {}
    for path in map(Path, paths):
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"The config file {path} cannot be read: {error.strerror}.") from None
        except yaml.YAMLError as error:
            raise UserError(f"The config file {path} is not valid YAML: {error}") from None
        if not isinstance(layer, dict):
            raise UserError(f"The config file {path} holds no keys: it must look like config.yaml.")
        merged = _merge(merged, layer)
    return clean(_merge(merged, overrides or {}))


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with numbers as numbers, then `check`.

    Snakemake's `--config` passes nested values on as text, and YAML reads 1e-2 as text.

    Raises: UserError, see `check`.
    """
    cleaned: dict[str, Any] = copy.deepcopy(dict(config))
    for error in jsonschema.Draft202012Validator(_schema()).iter_errors(cleaned):
        if error.validator in ("type", "enum") and isinstance(error.instance, str):
            *most, last = error.absolute_path
            place: Any = cleaned
            for part in most:
                place = place[part]
            place[last] = _from_text(error.instance)
    if cleaned.get("mirror") in ("", "null"):
        cleaned["mirror"] = None
    check(cleaned)
    return cleaned


def check(config: Mapping[str, Any]) -> None:
    """Refuse a config that cannot be run, with one line for each thing that is wrong.

    Raises: UserError naming each key, what was given and what is allowed.
    """
    problems = list(dict.fromkeys(_schema_problems(config))) or list(_meaning_problems(config))
    if problems:
        count = "This value" if len(problems) == 1 else f"These {len(problems)} values"
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise UserError(
            f"{count} of the configuration cannot be used:\n{lines}\n"
            "What is allowed is written in config/schema.yaml, what the paper uses in config.yaml."
        )


def available(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leave out the experiments with `skip_without_archive` whose archive is not at hand.

    An archive is at hand where an earlier run has fetched it, or where a mirror is named; nothing
    is looked up. Returns: the config with the rest in `select`, and a line for each one left out.

    Raises: UserError where nothing is left.
    """
    left_out = {
        name: missing
        for name in config["select"]
        if config["experiments"][name].get("skip_without_archive", False)
        and (missing := missing_archives(config, config["experiments"][name]["dataset"]))
    }
    lines = [
        f"{name} is left out, for it needs {' and '.join(missing)}: name a folder that holds it "
        "with --config mirror=FOLDER (make demo MIRROR=FOLDER)."
        for name, missing in left_out.items()
    ]
    selected = [name for name in config["select"] if name not in left_out]
    if not selected:
        raise UserError("No experiment is left to run:\n  " + "\n  ".join(lines))
    return {**config, "select": selected}, lines


def missing_archives(config: Mapping[str, Any], dataset: str) -> list[str]:
    """Archives of a dataset that are neither in the results folder nor in a mirror."""
    if config["mirror"] is not None:
        return []
    folder = Path(config["results_dir"]) / "data" / "archives"
    names = [archive.name for archive in CATALOG[dataset].archives]
    return [name for name in names if not (folder / name).exists()]


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    return schema


def _schema_problems(config: Mapping[str, Any]) -> Iterator[str]:
    validator = jsonschema.Draft202012Validator(_schema())
    for error in sorted(validator.iter_errors(config), key=lambda error: list(error.path)):
        path = ".".join(str(part) for part in error.absolute_path)
        match error.validator:
            case "additionalProperties":
                yield from _unknown_keys(error, path)
            case "required":
                missing = [key for key in error.validator_value if key not in error.instance]
                verb = "is" if len(missing) == 1 else "are"
                yield f"{path or 'the config'}: {_listed(missing)} {verb} missing; see config.yaml."
            case _:
                yield _refused_value(error, path)


def _unknown_keys(error: Any, path: str) -> Iterator[str]:
    legal = list(error.schema.get("properties", {}))
    for key in error.instance:
        if key in legal:
            continue
        full = f"{path}.{key}" if path else str(key)
        elsewhere = [known for known in _all_keys() if known.split(".")[-1] == key]
        near = difflib.get_close_matches(str(key), legal, n=1)
        if near:
            hint = f"Did you mean {near[0]}?"
        elif elsewhere:
            hint = f"It belongs to {_listed(elsewhere, 'or')}."
        else:
            hint = "Remove it."
        allowed = f"allowed here: {', '.join(legal)}" if legal else "no key is allowed here"
        yield f"{full}: there is no such key; {allowed}. {hint}"


@functools.cache
def _all_keys() -> tuple[str, ...]:
    """Every legal key with its path; `EXPERIMENT` stands for the name of an experiment."""

    def below(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = {**_schema()["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
        children = dict(schema.get("properties", {}))
        if isinstance(schema.get("additionalProperties"), dict):
            children["EXPERIMENT"] = schema["additionalProperties"]
        for key, child in children.items():
            yield f"{path}{key}"
            yield from below(child, f"{path}{key}.")

    return tuple(below(_schema(), ""))


def _refused_value(error: Any, path: str) -> str:
    given = _shown(error.instance)
    meaning = error.schema.get("description")
    about = f" ({meaning})" if meaning else ""
    hint = ""
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


def _meaning_problems(config: Mapping[str, Any]) -> Iterator[str]:
    experiments = config["experiments"]
    for path, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{path}: {value} was given; it must be a finite number."
    for name in config["select"]:
        if name not in experiments:
            near = difflib.get_close_matches(name, experiments, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            known = ", ".join(experiments)
            yield f"select: there is no experiment {name}; allowed: {known}.{hint}"
    mirror = config["mirror"]
    web = mirror is None or mirror.startswith(("http://", "https://"))
    if not web and not Path(mirror).is_dir():
        yield (
            f"mirror: '{mirror}' was given; it must be the URL (https://…) or the path of a folder "
            f"that holds the archives. There is no folder {Path(mirror).resolve()}."
        )
    for path, solver in _solvers(config):
        if solver["eigen_dtype"] == "float32" and solver["eigen_tolerance"] < FLOAT32_TOLERANCE:
            yield (
                f"{path}.eigen_tolerance: {solver['eigen_tolerance']} was given; it must be at "
                f"least {FLOAT32_TOLERANCE} with eigen_dtype float32. Set eigen_dtype: float64."
            )
    for name, experiment in experiments.items():
        dataset = experiment["dataset"]
        pool = pool_size(dataset, config["datasets"][dataset])
        for n in experiment["n"]:
            if n > pool:
                yield (
                    f"experiments.{name}.n: {n} was given; the training split of {dataset} has "
                    f"{pool} examples with the settings in datasets.{dataset}."
                )


def _solvers(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The solver's settings, and what an experiment makes of them where it has its own."""
    yield "solver", config["solver"]
    for name, experiment in config["experiments"].items():
        if "solver" in experiment:
            yield f"experiments.{name}.solver", {**config["solver"], **experiment["solver"]}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 80 else text[:77] + "..."


def _listed(names: Iterable[Any], last: str = "and") -> str:
    *most, final = map(str, names)
    return f"{', '.join(most)} {last} {final}" if most else final


def _from_text(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
