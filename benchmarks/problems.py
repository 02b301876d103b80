"""The problems that are measured: the paper's shapes, on real data where the archives are there."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.datasets.base import Resources
from eosflow.datasets.subsets import load_subset, write_subset
from eosflow.networks.mlp import MLPSettings
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.base import State
from eosflow.optimizers.loop import TrainState, begin
from eosflow.runs.spec import RunSpec
from eosflow.spectra.randomness import generator
from eosflow.workflow import config
from eosflow.workflow.expand import expand

ROOT = Path(__file__).resolve().parent.parent


def paper_spec(experiment: str, n: int, **overrides: Any) -> RunSpec:
    """The first run of (experiment, N) in config.yaml, with some values of it overridden."""
    settings = config.load([ROOT / "config.yaml"], {"select": [experiment], **overrides})
    return next(spec for spec in expand(settings).values() if spec.n == n)


def archives() -> Path | None:
    """The folder with the real archives, EOSFLOW_REAL_DATA; None without."""
    given = os.environ.get("EOSFLOW_REAL_DATA")
    return Path(given) if given else None


def mlp(spec: RunSpec) -> MLPSettings:
    """The network of a run, which is an MLP in all that is measured here."""
    assert isinstance(spec.network, MLPSettings)
    return spec.network


def begun(spec: RunSpec, objective: MLPObjective) -> TrainState:
    """A run before its first step."""
    theta = objective.network.initialize(spec.init_seed).to(objective.inputs)
    return begin(objective, spec.optimizer, spec.batch, theta, spec.init_seed)


def vectors_of(state: State, name: str) -> Tensor:
    """A tensor of an optimizer's state."""
    tensor = state[name]
    assert isinstance(tensor, Tensor)
    return tensor


def product_operations(spec: RunSpec, vectors: int) -> int:
    """Floating-point operations of a block product with 𝓗 over all N examples."""
    return spec.n * vectors * mlp(spec).product_operations(spec.shape, spec.outputs)


def objective_of(spec: RunSpec) -> tuple[MLPObjective, str]:
    """The loss of a run and where its data are from: `real`, or `synthetic` of the same shape."""
    data = _real(spec)
    inputs, labels = data or synthetic(spec)
    network = mlp(spec).build(spec.shape, spec.outputs)
    return MLPObjective(network, spec.criterion, inputs, labels), "real" if data else "synthetic"


def _real(spec: RunSpec) -> tuple[Tensor, Tensor] | None:
    facts, folder = spec.data.facts, archives()
    archive = None
    if facts.archives:
        archive = folder / facts.archives[0].name if folder else None
        if archive is None or not archive.is_file() or spec.dataset == "sst":
            return None  # embedding SST takes a language model
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "subset.npz"
        resources = Resources(archive=archive, cache=Path(temporary))
        write_subset(spec.dataset, spec.data, spec.subset_seed, spec.n, resources, path)
        inputs, labels = load_subset(path, spec.n)
    return torch.from_numpy(inputs), torch.from_numpy(labels)


def synthetic(spec: RunSpec) -> tuple[Tensor, Tensor]:
    """Uniform inputs in [0, 1] around one pattern a class."""
    stream = generator(0, "probes")
    dimension, classes = spec.data.dimension(), spec.outputs
    labels = torch.randint(0, classes, (spec.n,), generator=stream)
    patterns = torch.rand(classes, dimension, generator=stream, dtype=torch.float64)
    inputs = torch.rand(spec.n, dimension, generator=stream, dtype=torch.float64)
    return inputs.mul_(0.5).add_(patterns[labels], alpha=0.5), labels


class MachineRate:
    """Float64 operations a second of large square matrix products, sampled beside what it scales.

    Memory is taken once: fresh pages would be part of what is measured.
    """

    def __init__(self, size: int = 1024) -> None:
        self._left = torch.rand(size, size, dtype=torch.float64)
        self._right = torch.rand(size, size, dtype=torch.float64)
        self._out = torch.empty_like(self._left)
        self.samples: list[float] = []

    def sample(self) -> float:
        """Measure once."""
        start = time.process_time()
        torch.mm(self._left, self._right, out=self._out)
        self.samples.append(2 * len(self._out) ** 3 / (time.process_time() - start))
        return self.samples[-1]

    @property
    def median(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples)
