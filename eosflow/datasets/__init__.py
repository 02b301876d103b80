"""The datasets: kind -> its settings class. A further one is one module and one line here.

Each module holds everything about one dataset: its facts, its settings, its parsing and what was
done to it. Modules import heavy libraries inside their functions, so that this package costs the
standard library alone, and nothing is ever downloaded by importing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eosflow.datasets.atrialfibrillation import AtrialFibrillation
from eosflow.datasets.base import SUBSET_VERSION, Archive, DatasetSettings, Facts, Pool, Resources
from eosflow.datasets.cifar import CIFAR10, CIFAR100
from eosflow.datasets.dice import Dice
from eosflow.datasets.sst import SST
from eosflow.datasets.superglue import RTE, BoolQ, WiC
from eosflow.datasets.table import Table
from eosflow.storage.settings import make

DATASETS: dict[str, type[DatasetSettings]] = {
    kind.name: kind
    for kind in (
        Dice,
        CIFAR10,
        CIFAR100,
        AtrialFibrillation,
        SST,
        BoolQ,
        WiC,
        RTE,
        Table,
    )
}

# Every official download, by its name.
ARCHIVES: dict[str, Archive] = {
    archive.name: archive for kind in DATASETS.values() for archive in kind.facts.archives
}

__all__ = [
    "ARCHIVES",
    "DATASETS",
    "SUBSET_VERSION",
    "Archive",
    "DatasetSettings",
    "Facts",
    "Pool",
    "Resources",
    "configured",
]


def configured(name: str, given: Mapping[str, Any]) -> DatasetSettings:
    """The dataset that the config calls `name`, from what it says there.

    `kind` names the registry's entry, by default the dataset's own name; the rest are settings.

    Raises: KeyError for an unknown kind, TypeError for a setting that is missing or unknown.
    """
    settings = dict(given)
    return make(DATASETS, settings.pop("kind", name), settings)
