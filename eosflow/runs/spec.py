"""What one training run is, and where its files lie. Standard library only."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pydantic import Field

from eosflow.datasets import configured
from eosflow.datasets.base import DatasetSettings
from eosflow.networks import NETWORKS
from eosflow.networks.base import NetworkSettings
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import BATCHES, Batches, FullBatch
from eosflow.runs.snapshots import SNAPSHOTS, EveryIterations, Snapshots
from eosflow.storage import settings
from eosflow.storage.digests import digest
from eosflow.storage.settings import Plugin

# Raise this when the numbers of all runs move, or the form of their files: what was made before is
# then made again. Where those of one optimizer move, raise that one's `version`.
TRAINING_VERSION = 1


class Stop(Plugin):
    """When a run ends: at the target loss, or at a limit of iterations."""

    name: ClassVar[str] = "stop"

    max_iterations: int = Field(200000, description="largest number of iterations of a run", ge=1)


# The plug-ins that parts of a specification, but the dataset, are.
PARTS: dict[str, Mapping[str, type[Any]]] = {
    "network": NETWORKS,
    "optimizer": OPTIMIZERS,
    "batch": BATCHES,
    "stop": {"stop": Stop},
    "snapshots": SNAPSHOTS,
}
# Those that a specification need not name.
DEFAULTS: dict[str, Any] = {"batch": FullBatch(), "stop": Stop(), "snapshots": EveryIterations()}


@dataclass(frozen=True)
class RunSpec:
    """Everything that changes the numbers of one training run.

    `dataset` is the name of the dataset, which its subset files carry, and `data` what it is;
    network, optimizer, batch and snapshots are names with settings, see
    `eosflow.storage.settings`.
    """

    experiment: str
    dataset: str
    data: DatasetSettings
    criterion: str
    n: int
    init_seed: int
    subset_seed: int
    network: NetworkSettings
    optimizer: Optimizer
    target_loss: float | None  # None: the run ends at `stop` alone
    batch: Batches = DEFAULTS["batch"]
    stop: Stop = DEFAULTS["stop"]
    snapshots: Snapshots = DEFAULTS["snapshots"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.data.input_shape()

    @property
    def outputs(self) -> int:
        """C, the number of network outputs."""
        return self.data.outputs()

    @property
    def parameters(self) -> int:
        """P."""
        return self.network.parameters(self.shape, self.outputs)

    @property
    def run(self) -> str:
        """The run's name within its (experiment, N): `init{i}-subset{s}`."""
        return f"init{self.init_seed}-subset{self.subset_seed}"

    @property
    def folder(self) -> PurePosixPath:
        """The run's folder below the results folder: `EXP/nN/RUN`."""
        return PurePosixPath(self.experiment) / f"n{self.n}" / self.run

    @functools.cached_property  # planning asks for it again and again
    def key(self) -> str:
        """Digest of what the run is and of the versions behind it: equal keys, equal results.

        What is at its default is left out, so that a new setting leaves the keys of old runs alone.
        """
        return digest({**self._short(settings.key_fields), **self._versions()})

    @property
    def trajectory_key(self) -> str:
        """Digest of what determines each step: runs that differ only in their end share it."""
        key_fields = self._short(settings.key_fields)
        steps = {
            name: part for name, part in key_fields.items() if name not in ("target_loss", "stop")
        }
        return digest({**steps, **self._versions()})

    def _versions(self) -> dict[str, int]:
        """Those that a key depends on; an optimizer's first is left out, as a setting's default."""
        own = self.optimizer.version
        versions = {"training_version": TRAINING_VERSION}
        return versions | ({"optimizer_version": own} if own > 1 else {})

    def _short(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """`_written` without the parts that are at their default."""
        whole = self._written(write)
        return {
            name: part
            for name, part in whole.items()
            if name not in DEFAULTS or getattr(self, name) != DEFAULTS[name]
        }

    def _written(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The specification as a JSON object, each part as `write` puts it."""
        data, stop = write(self.data), write(self.stop)
        kind = data.pop("name")
        del stop["name"]
        # A dataset goes by its own name; `kind` says what it is where the name does not.
        named = {"name": self.dataset} | ({"kind": kind} if kind != self.dataset else {})
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["data"]
        written = {n: write(v) if isinstance(v, Plugin) else v for n, v in values.items()}
        return written | {"dataset": {**named, **data}, "stop": stop}

    def to_record(self) -> dict[str, Any]:
        """The specification as a JSON object, defaults and all; `from_record` reads it back."""
        return self._written(settings.record)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunSpec:
        """The specification that `to_record` wrote; what is left out is at its default.

        Raises: KeyError or TypeError where a part is missing or unknown.
        """
        values = dict(record)
        data = dict(values.pop("dataset"))
        name = data.pop("name")
        made = {
            part: settings.from_record(kinds, {"name": part, **values[part]})
            for part, kinds in PARTS.items()
            if part in values
        }
        return cls(**{**values, **made, "dataset": name, "data": configured(name, data)})
