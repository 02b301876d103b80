"""The schema of the config: schema.yaml, and what each plug-in says of its own settings."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from eosflow.datasets import DATASETS
from eosflow.measurements import MEASUREMENTS
from eosflow.networks import NETWORKS
from eosflow.objectives import CRITERIA
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.batches import BATCHES
from eosflow.runs.snapshots import SNAPSHOTS
from eosflow.runs.spec import Stop
from eosflow.storage import settings
from eosflow.studies import OF_RUNS, STUDIES

# What names a plug-in, what holds the settings, and what there is.
SECTIONS: dict[str, tuple[str, Mapping[str, type[Any]]]] = {
    "network": ("networks", NETWORKS),
    "optimizer": ("optimizers", OPTIMIZERS),
    "batch": ("batches", BATCHES),
    "snapshot": ("snapshots", SNAPSHOTS),
    "measure": ("measurements", MEASUREMENTS),
}


@functools.cache
def _written() -> dict[str, Any]:
    path = Path(__file__).with_name("schema.yaml")
    schema: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return schema


def schema(datasets: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a config that names these datasets, which may be the user's own.

    A setting that must be given is asked for where the plug-in is used, see
    `eosflow.workflow.consistent`; here none is.
    """
    whole = copy.deepcopy(_written())
    top = whole["properties"]
    experiment = top["experiments"]["additionalProperties"]["properties"]
    experiment["criterion"]["enum"] = list(CRITERIA)
    top["studies"]["items"]["enum"] = list(STUDIES)
    experiment["study"]["enum"] = list(OF_RUNS)
    for name, (table, registry) in SECTIONS.items():
        chosen: dict[str, Any] = {"enum": list(registry)}
        if name == "measure":
            chosen = {"type": "array", "uniqueItems": True, "items": chosen}
        properties = {kind: _optional(plugin) for kind, plugin in registry.items()}
        for part in (top, experiment):
            if name in part:
                part[name] |= chosen
                part[table] |= _object(properties)
    for part in (top, experiment):
        part["stop"] |= _optional(Stop)
    known = {kind: _optional(plugin) for kind, plugin in DATASETS.items() if kind != "table"}
    own = {n: _own(g) for n, g in datasets.items() if isinstance(g, Mapping) and "kind" in g}
    top["datasets"] |= _object(known | own)
    return whole


def _own(given: Mapping[str, Any]) -> dict[str, Any]:
    """The rules of a dataset that goes by a name of the user's own, from its `kind`."""
    kinds = {"kind": {"description": "what kind of dataset it is", "enum": list(DATASETS)}}
    kind = given["kind"]
    if not isinstance(kind, str) or kind not in DATASETS:
        return {"type": "object", "additionalProperties": True, "properties": kinds}
    rules = dict(settings.schema(DATASETS[kind]))
    return rules | {"properties": kinds | rules["properties"]}


def _optional(plugin: type[Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.schema(plugin).items() if key != "required"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}
