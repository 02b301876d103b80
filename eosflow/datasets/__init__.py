"""The datasets: name -> function that opens the training split. A fifth one is a line here.

Each module holds one dataset's parsing and preprocessing; its facts (classes, sizes, sources,
licence) are in `eosflow.datasets.catalog`. Modules import heavy libraries inside their functions,
so that this package costs only NumPy, and nothing is ever downloaded by importing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eosflow.datasets import atrialfibrillation, cifar10, dice, sst
from eosflow.datasets.pool import Pool, Resources
from eosflow.datasets.subsets import load_subset

OpenPool = Callable[[Mapping[str, Any], Resources], Pool]

DATASETS: dict[str, OpenPool] = {
    "dice": dice.open_pool,
    "cifar10": cifar10.open_pool,
    "atrialfibrillation": atrialfibrillation.open_pool,
    "sst": sst.open_pool,
}

__all__ = ["DATASETS", "OpenPool", "Pool", "Resources", "load_subset"]
