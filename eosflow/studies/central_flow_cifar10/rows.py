"""The comparison of the study `central-flow`, on a few hundred photographs of CIFAR-10."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eosflow.datasets.cifar import CIFAR10
from eosflow.networks.mlp import MLPSettings
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.runs.spec import RunSpec
from eosflow.studies.central_flow.rows import Problem, study
from eosflow.studies.testbeds import SEEDS, drawn

# fc-tanh of Cohen et al. 2021, with fewer examples and narrower, as in the study edge-cifar10.
SPEC = RunSpec(
    experiment="central-flow-cifar10",
    dataset="cifar10-standardised",
    data=CIFAR10(scaling="standardised"),
    criterion="half_squared_error",
    n=300,
    init_seed=0,
    subset_seed=0,
    network=MLPSettings(width=32, depth=3, activation="tanh", gain=0.4),
    optimizer=ExponentialRosenbrock(),
    target_loss=0.0,
)
PHOTOGRAPHS = Problem("CIFAR-10", SEEDS, (1 / 50,), end=36.0, every=1.2)


def rows(archive: Path) -> Iterator[dict[str, Any]]:
    return study(PHOTOGRAPHS, drawn(SPEC, archive))
