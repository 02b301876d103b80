"""`make generate`: the pages that are made of the code, and the keys of what is new."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eosflow.datasets import DATASETS
from eosflow.datasets.dice import Dice
from eosflow.measurements import MEASUREMENTS
from eosflow.networks import NETWORKS
from eosflow.networks.mlp import MLPSettings
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.batches import BATCHES
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.wraps import WRAPS
from eosflow.results import columns, reproduction
from eosflow.results.figures import index
from eosflow.runs.names import index_key
from eosflow.runs.snapshots import SNAPSHOTS, EveryIterations
from eosflow.runs.spec import RunSpec, Stop
from eosflow.storage.files import read_json, write_json, write_text
from eosflow.studies import page as studies
from eosflow.workflow import config, expand, reference

ROOT = Path(__file__).resolve().parents[2]
KEYS = ROOT / "tests" / "data" / "keys.json"
PAGES: dict[str, Callable[[], str]] = {
    "docs/columns.md": columns.page,
    "docs/configuration.md": reference.page,
    "docs/figures.md": index.page,
    "docs/reproduction.md": reproduction.page,
    "docs/studies.md": studies.page,
    "docs/data/verdicts.csv": studies.verdicts,
}


def keys() -> dict[str, str]:
    """What runs and measurements are recognised by: those of the paper, of docs/reproduction.md
    and of the demo, and one with each plug-in.
    """
    paper = ROOT / "config.yaml"
    keys_now = {f"paper {k}": r.key for k, r in expand.expand(config.load([paper])).items()}
    for name in ("reproduction", "demo"):
        runs = expand.expand(config.load([paper, ROOT / "config" / f"{name}.yaml"]))
        keys_now |= {f"{name} {k}": r.key for k, r in runs.items()}

    def key(**parts: Any) -> str:
        return dataclasses.replace(_SMALL, **parts).key

    keys_now |= {f"optimizer {n}": key(optimizer=k.example()) for n, k in OPTIMIZERS.items()}
    by_steps = GradientDescent.example()
    for name, wrap in WRAPS.items():
        keys_now[f"wrap {name}"] = key(
            optimizer=by_steps.model_copy(update={"wrap": (wrap.example(),)})
        )
    for name, batches in BATCHES.items():
        keys_now[f"batch {name}"] = key(optimizer=by_steps, batch=batches.example())
    keys_now |= {f"network {n}": key(network=k.example()) for n, k in NETWORKS.items()}
    keys_now |= {f"dataset {n}": key(dataset=n, data=k.example()) for n, k in DATASETS.items()}
    keys_now |= {f"snapshot {n}": key(snapshots=k.example()) for n, k in SNAPSHOTS.items()}
    return keys_now | {f"measure {n}": index_key(k.example()) for n, k in MEASUREMENTS.items()}


# A run of a second, whose parts are taken in turn from the registries.
_SMALL = RunSpec(
    experiment="dice-ce",
    dataset="dice",
    data=Dice(image_size=4),
    criterion="cross_entropy",
    n=21,
    init_seed=0,
    subset_seed=0,
    network=MLPSettings(width=8, depth=4),
    optimizer=ExponentialEuler(max_step_size=0.2, eigen_tolerance=0.01),
    target_loss=0.6,
    stop=Stop(max_iterations=400),
    snapshots=EveryIterations(every=20),
)


def generate() -> None:
    """Write the pages, and add the keys that are new; one that is stored stays as it is."""
    for path, page in PAGES.items():
        write_text(ROOT / path, page())
    write_json(KEYS, keys() | read_json(KEYS))


if __name__ == "__main__":
    generate()
