"""What a config may say, and a helpful message for all else. No science, fast to import.

`eosflow.workflow.schema` holds the rules for single keys; `check` adds those that need several.
"""

from __future__ import annotations

import copy
import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from eosflow.datasets import ARCHIVES
from eosflow.datasets.links import LOGIN, has_login, is_url
from eosflow.objectives import OF_CLASSES
from eosflow.optimizers.gradient import GradientOptimizer
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.workflow import expand, grid
from eosflow.workflow.places import TAKEN, at_home, results_problems, shown, strange
from eosflow.workflow.schema import SECTIONS, schema

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
    """A copy with grids unfolded and numbers as numbers, then `check`.

    Snakemake's `--config` passes nested values on as text, and YAML reads 1e-2 as text.

    Raises: UserError, see `check`.
    """
    cleaned: dict[str, Any] = copy.deepcopy(dict(config))
    if isinstance(cleaned.get("experiments"), Mapping):
        cleaned["experiments"] = grid.unfolded(cleaned["experiments"])
    for error in _validator(cleaned).iter_errors(cleaned):
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
            "docs/configuration.md lists what is allowed; config.yaml holds what the paper uses."
        )


def available(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leave out the experiments with `skip_without_archive` whose archive is not at hand.

    An archive is at hand where an earlier run has fetched it, or where a mirror is named; nothing
    is looked up. Returns: the config with the rest in `select`, and a line for each one left out.

    Raises: UserError where nothing is left.
    """
    left_out = {
        name: missing
        for name in expand.chosen(config)
        if config["experiments"][name].get("skip_without_archive", False)
        and (missing := missing_archives(config, config["experiments"][name]["dataset"]))
    }
    lines = [
        f"{name} is left out, for it needs {' and '.join(missing)}: name a folder that holds it "
        "with --config mirror=FOLDER (make demo MIRROR=FOLDER)."
        for name, missing in left_out.items()
    ]
    selected = [name for name in config["select"] if name not in left_out]
    kept = {name: each for name, each in config["experiments"].items() if name not in left_out}
    made = expand.of_studies({**config, "experiments": kept})
    studies = [name for name in config["studies"] if made.get(name, True)]
    if not selected and (config["select"] or not studies):
        raise UserError("No experiment is left to run:\n  " + "\n  ".join(lines))
    of_study = set(left_out) - set(config["select"])
    experiments = {n: each for n, each in config["experiments"].items() if n not in of_study}
    return {**config, "select": selected, "studies": studies, "experiments": experiments}, lines


def missing_archives(config: Mapping[str, Any], dataset: str) -> list[str]:
    """Archives of a dataset that are neither in the results folder nor in a mirror."""
    if config["mirror"] is not None:
        return []
    folder = Path(config["results_dir"]) / "data" / "archives"
    names = [archive.name for archive in expand.dataset(config, dataset).facts.archives]
    return [name for name in names if not (folder / name).exists()]


def _validator(config: Mapping[str, Any]) -> Any:
    datasets = config.get("datasets")
    rules = schema(datasets if isinstance(datasets, Mapping) else {})
    return jsonschema.Draft202012Validator(rules)


def _schema_problems(config: Mapping[str, Any]) -> Iterator[str]:
    validator = _validator(config)
    problems = validator.iter_errors(config)
    for error in sorted(problems, key=lambda error: list(map(str, error.absolute_path))):
        path = ".".join(str(part) for part in error.absolute_path)
        match error.validator:
            case "additionalProperties":
                yield from _unknown_keys(error, path, validator.schema)
            case "required":
                missing = [key for key in error.validator_value if key not in error.instance]
                verb = "is" if len(missing) == 1 else "are"
                yield f"{path or 'the config'}: {_listed(missing)} {verb} missing; see config.yaml."
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
            hint = f"It belongs to {_listed(elsewhere, 'or')}."
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
    yield from results_problems(config["results_dir"])
    mirror = config["mirror"]
    web = mirror is None or is_url(mirror)
    if web and mirror and has_login(mirror):
        yield LOGIN
    if not web and not os.path.isdir(mirror):  # noqa: PTH112  (this never raises)
        yield (
            f"mirror: '{mirror}' was given; it must be the URL (https://…) or the path of a folder "
            f"that holds the archives. {at_home(mirror) or _no_folder(mirror)}"
        )
    for name in config["checksums"]:
        if name not in ARCHIVES:
            near = difflib.get_close_matches(name, ARCHIVES, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            yield f"checksums: there is no archive {name}; known are {', '.join(ARCHIVES)}.{hint}"
    if "decomposition" not in config["measure"]:
        yield (
            "measure: decomposition is missing; every table and figure is made of it. Name it "
            "beside what else is to be measured."
        )
    for name in experiments:
        if name in TAKEN:
            yield (
                f"experiments.{name}: an experiment cannot be called that, for the results have a "
                f"folder of this name. These are taken: {', '.join(TAKEN)}."
            )
        yield from _experiment_problems(config, name)
    yield from _study_problems(config)


def _study_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What does not go together of studies, their experiments and those of `select`."""
    for study, names in expand.of_studies(config).items():
        if not names:
            yield (
                f"studies: {study} is made of runs, and no experiment has `study: {study}`; "
                "config/studies-demo.yaml has some. Lay it over this one, or take the study out."
            )
    if not config["select"] and not config["studies"]:
        yield "select: it is empty, and so is studies: there is nothing to make."
    for name, experiment in config["experiments"].items():
        if "study" in experiment and name in config["select"]:
            yield (
                f"select: {name} is of the study {experiment['study']}: take it out here and name "
                "the study in `studies`."
            )
        if "study" in experiment:
            continue
        if "." in name:
            yield f"experiments.{name}: only the name of a study's experiment may hold a point."
        if "target_loss" not in experiment:
            yield f"experiments.{name}: target_loss is missing; only a study's may do without."
        for key in ("measure", "measurements"):
            if key in experiment:
                yield (
                    f"experiments.{name}.{key}: only experiments of a study have their own; tables "
                    "and figures compare what is measured of all others."
                )


def _no_folder(path: str) -> str:
    return f"There is no folder {Path(path).absolute()}."


def _experiment_problems(config: Mapping[str, Any], name: str) -> Iterator[str]:
    """What is wrong with one experiment and with the parts that it is made of."""
    experiment, path = config["experiments"][name], f"experiments.{name}"
    chosen = experiment["dataset"]
    if chosen not in config["datasets"]:
        near = difflib.get_close_matches(chosen, config["datasets"], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(config["datasets"])
        yield f"{path}.dataset: '{chosen}' was given; allowed: {known}.{hint}"
        return
    unfit = list(_unfit_data(config, name, path))
    yield from unfit
    # Another network or optimizer on the command line is for the experiments that are to be run.
    if name in expand.chosen(config) and not unfit:
        yield from _missing_settings(config, name, path) or _unfit_training(config, name, path)


def _missing_settings(config: Mapping[str, Any], name: str, path: str) -> list[str]:
    experiment, lines = config["experiments"][name], []
    for section, (table, registry) in SECTIONS.items():
        for kind in expand.names(config, experiment, section):
            given = expand.given(config, experiment, table, kind)
            needed = settings.schema(registry[kind]).get("required", [])
            if missing := [key for key in needed if key not in given]:
                verb = "is" if len(missing) == 1 else "are"
                lines.append(
                    f"{path}: {table}.{kind}: {_listed(missing)} {verb} missing; {kind} cannot do "
                    "without."
                )
    return lines


def _unfit_data(config: Mapping[str, Any], name: str, path: str) -> Iterator[str]:
    experiment = config["experiments"][name]
    try:
        data = expand.dataset(config, experiment["dataset"])
        pool, of_classes = data.pool_size(), data.class_names() is not None
    except UserError as error:  # a file of the user's own that cannot be read
        yield f"datasets.{experiment['dataset']}: {error}"
        return
    for source in data.sources():
        if obstacle := strange(source):
            yield f"datasets.{experiment['dataset']}: {shown(source)} was given; {obstacle}"
    if experiment["criterion"] in OF_CLASSES and not of_classes:
        yield (
            f"{path}.criterion: {experiment['criterion']} was given, but the labels of "
            f"{experiment['dataset']} are numbers, not classes; take squared_error."
        )
    for n in experiment["n"]:
        if n > pool:
            yield (
                f"{path}.n: {n} was given; the training split of {experiment['dataset']} has "
                f"{pool} examples with the settings in datasets.{experiment['dataset']}."
            )


def _unfit_training(config: Mapping[str, Any], name: str, path: str) -> Iterator[str]:
    experiment = config["experiments"][name]
    try:
        parts = expand.Parts(config, name)
        shape = parts.data.input_shape()
    except UserError as error:  # settings that do not go together
        yield f"{path}: {error}"
        return
    network, optimizer, batch = parts.network, parts.optimizer, parts.batch
    if obstacle := network.obstacle(shape):
        yield f"{path}: the network {network.name} cannot read {experiment['dataset']}: {obstacle}"
    if obstacle := optimizer.obstacle():
        yield f"{path}: optimizers.{optimizer.name}.{obstacle}"
    if optimizer.follows_flow and batch.name != "full":
        yield (
            f"{path}: {optimizer.name} follows the flow of the whole loss and cannot be given "
            f"batches; set batch: full, or take an optimizer such as gradient-descent."
        )
    for measurement in parts.measurements:
        if not measurement.applies_to(network.name):
            yield (
                f"{path}: {measurement.name} is not defined for the network {network.name}; take "
                "it out of `measure`."
            )
        wanted, there = getattr(measurement, "held_out", 0), parts.data.held_out_size()
        if wanted > there:
            yield (
                f"{path}: {measurement.name} wants {wanted} held-out examples, and the test split "
                f"of {experiment['dataset']} has {there}; set measurements.{measurement.name}."
                "held_out, or take it out of `measure`."
            )
        own = getattr(measurement, "learning_rate", 0.0) is None
        if own and not isinstance(optimizer, GradientOptimizer):
            yield (
                f"{path}: {measurement.name} needs a learning rate and {optimizer.name} has none; "
                f"give measurements.{measurement.name}.learning_rate."
            )
    for n in experiment["n"]:
        if batch.name != "full" and batch.steps_per_epoch(n) < 2:
            yield (
                f"{path}: batches.{batch.name}: a batch must be smaller than the {n} examples of "
                f"{path}.n; for all of them set batch: full."
            )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


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
