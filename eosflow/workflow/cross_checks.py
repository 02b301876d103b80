"""Combinations of values that a config must not have, though each value alone is allowed.

What a plug-in cannot be used with it says itself, as `why_not`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eosflow.datasets import DATASETS
from eosflow.datasets.mirror import is_url, refusal
from eosflow.objectives import OF_CLASSES
from eosflow.storage.errors import UserError
from eosflow.storage.refusals import not_one_of, refusals, shown
from eosflow.studies import STUDIES
from eosflow.workflow import expand
from eosflow.workflow.places import strange
from eosflow.workflow.schema import SECTIONS


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing that keeps a config from being run; the schema allows it."""
    experiments = config["experiments"]
    for name in config["select"]:
        if name not in experiments:
            yield not_one_of("select", name, experiments)
    yield from _mirror_problems(config["mirror"])
    if "decomposition" not in config["measure"]:
        yield (
            "measure: decomposition is missing; every table and figure is made of it. Name it "
            "beside what else is to be measured."
        )
    for name in experiments:
        yield from _experiment_problems(config, name)
    yield from _study_problems(config)


def _mirror_problems(mirror: str | None) -> Iterator[str]:
    if mirror is None:
        return
    if unusable := refusal(mirror):
        yield unusable
    elif not is_url(mirror) and not os.path.isdir(mirror):  # noqa: PTH112  (this never raises)
        yield (
            f"mirror: {shown(mirror)} was given; it must be the URL (https://…) or the path of a "
            f"folder that holds the archives. There is no folder {Path(mirror).absolute()}."
        )


def _study_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What does not go together of studies, their experiments and those of `select`."""
    for study, names in expand.of_studies(config).items():
        if not names:
            yield (
                f"studies: {study} is made of runs, and no experiment has `study: {study}`; "
                "config/studies-demo.yaml has some. Lay it over this one, or take the study out."
            )
        for name in names:
            measured = expand.names(config, config["experiments"][name], "measure")
            for each in STUDIES[study].measurements:
                if each not in measured:
                    yield f"experiments.{name}.measure: {each} is missing, which {study} needs."
    if not config["select"] and not config["studies"]:
        yield "select: it is empty, and so is studies: there is nothing to make."
    for name, experiment in config["experiments"].items():
        if "study" in experiment:
            if name in config["select"]:
                yield (
                    f"select: {name} is of the study {experiment['study']}: take it out here and "
                    "name the study in `studies`."
                )
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


def _experiment_problems(config: Mapping[str, Any], name: str) -> Iterator[str]:
    """What is wrong with one experiment and with the parts that it is made of."""
    experiment, path = config["experiments"][name], f"experiments.{name}"
    chosen = experiment["dataset"]
    if chosen not in config["datasets"]:
        yield not_one_of(f"{path}.dataset", chosen, config["datasets"])
        return
    unfit = list(_unfit_data(config, name, path))
    yield from unfit
    # Another network or optimizer on the command line is for the experiments that are to be run.
    if name in expand.chosen(config) and not unfit:
        yield from _refused_settings(config, name, path) or _unfit_parts(config, name, path)


def _unfit_data(config: Mapping[str, Any], name: str, path: str) -> Iterator[str]:
    experiment = config["experiments"][name]
    dataset = experiment["dataset"]
    try:
        data = expand.dataset(config, dataset)
        pool, of_classes = data.size(), data.class_names() is not None
    except ValidationError as error:
        given = config["datasets"][dataset]
        yield from refusals(DATASETS[given.get("kind", dataset)], error, f"datasets.{dataset}")
        return
    except UserError as error:  # a file of the user's own that cannot be read
        yield f"datasets.{dataset}: {error}"
        return
    for source in data.sources():
        if unfit := strange(source):
            yield f"datasets.{dataset}: {shown(source)} was given; {unfit}."
    if experiment["criterion"] in OF_CLASSES and not of_classes:
        yield (
            f"{path}.criterion: {experiment['criterion']} was given, but the labels of {dataset} "
            "are numbers, not classes; take squared_error."
        )
    for n in experiment["n"]:
        if n > pool:
            yield (
                f"{path}.n: {n} was given; the training split of {dataset} has {pool} examples "
                f"with the settings in datasets.{dataset}."
            )


def _refused_settings(config: Mapping[str, Any], name: str, path: str) -> list[str]:
    """What its plug-ins cannot do without, or refuse of several settings together."""
    experiment, lines = config["experiments"][name], []
    for section, (table, registry) in SECTIONS.items():
        for kind in expand.names(config, experiment, section):
            try:
                registry[kind].model_validate(expand.given(config, experiment, table, kind))
            except ValidationError as error:
                lines += refusals(registry[kind], error, f"{path}: {table}.{kind}")
    return lines


def _unfit_parts(config: Mapping[str, Any], name: str, path: str) -> Iterator[str]:
    """What one part of an experiment says of another."""
    experiment, parts = config["experiments"][name], expand.Parts(config, name)
    try:
        shape = parts.data.input_shape()
    except UserError as error:
        yield f"{path}: {error}"
        return
    network, optimizer, batch = parts.network, parts.optimizer, parts.batch
    reasons = {
        f"the network {network.name} cannot read {experiment['dataset']}: ": network.why_not(shape)
    }
    reasons[f"optimizers.{optimizer.name}: "] = optimizer.why_not(batch)
    reasons |= {f"batches.{batch.name}: ": batch.why_not(network, shape, min(experiment["n"]))}
    for each in parts.measurements:
        reasons[f"measurements.{each.name}: "] = each.why_not(network, parts.data, optimizer)
    for start, why_not in reasons.items():
        if why_not:
            yield f"{path}: {start}{why_not}"
