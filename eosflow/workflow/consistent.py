"""What of a config does not go together, though each value alone is allowed."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eosflow.datasets import ARCHIVES
from eosflow.datasets.links import LOGIN, has_login, is_url
from eosflow.objectives import OF_CLASSES
from eosflow.optimizers.gradient import GradientOptimizer
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.workflow import expand
from eosflow.workflow.places import TAKEN, at_home, results_problems, shown, strange
from eosflow.workflow.refused import joined
from eosflow.workflow.schema import SECTIONS


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing that keeps a config from being run; the schema allows it."""
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
                    f"{path}: {table}.{kind}: {joined(missing)} {verb} missing; {kind} cannot do "
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
        if why_not := strange(source):
            yield f"datasets.{experiment['dataset']}: {shown(source)} was given; {why_not}"
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
    if why_not := network.why_not(shape):
        yield f"{path}: the network {network.name} cannot read {experiment['dataset']}: {why_not}"
    if why_not := optimizer.why_not():
        yield f"{path}: optimizers.{optimizer.name}.{why_not}"
    if optimizer.follows_flow and batch.name != "full":
        yield (
            f"{path}: {optimizer.name} follows the flow of the whole loss and cannot be given "
            f"batches; set batch: full, or take an optimizer such as gradient-descent."
        )
    if batch.augments() and (network.name == "mlp" or len(shape) != 3):
        yield (
            f"{path}: batches.{batch.name}.augment is for images (channels, height, width), which "
            f"the network {network.name} does not read; take cnn, resnet or vit, or augment: none."
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
