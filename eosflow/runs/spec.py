"""What one training run is, where its files lie, and which runs a config asks for. Stdlib only."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any, Literal

from eosflow.datasets import catalog
from eosflow.storage.digests import canonical_json, digest

# Raise these when the numbers move, or the form of their records: what was made before is then
# made again.
TRAINING_VERSION = 1
DECOMPOSITION_VERSION = 2
TABLES_VERSION = 3
STUDIES_VERSION = 2

CRITERIA: dict[str, str] = {
    "cross_entropy": "CE",
    "squared_error": "MSE",
    "mean_squared_error": "MSE, mean of outputs",
}
# Knobs that say only when a run ends: two runs that differ in nothing else share a trajectory.
STOPPING_KNOBS = ("target_loss", "max_iterations")


@dataclass(frozen=True)
class RunSpec:
    """Every knob that changes the numbers of one training run.

    `dataset_settings` is the dataset's part of the config as canonical JSON, so that the dataclass
    stays hashable. `integrator` to `snapshot_also` are explained in config.yaml.
    """

    experiment: str
    dataset: str
    dataset_settings: str
    criterion: Literal["cross_entropy", "squared_error", "mean_squared_error"]
    n: int
    init_seed: int
    subset_seed: int
    width: int
    depth: int
    activation: str
    gain: float
    integrator: str
    max_step_size: float
    eigen_tolerance: float
    eigen_dtype: Literal["float32", "float64"]
    max_block_products: int
    target_loss: float
    max_iterations: int
    snapshot_every: int
    snapshot_also: tuple[int, ...]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """d_0 … d_L: D inputs, L−1 hidden layers of one width, C outputs."""
        settings = json.loads(self.dataset_settings)
        hidden = (self.width,) * (self.depth - 1)
        return (
            catalog.input_dimension(self.dataset, settings),
            *hidden,
            catalog.class_count(self.dataset, settings),
        )

    @property
    def parameters(self) -> int:
        """P = Σ_l d_l (d_{l−1} + 1)."""
        sizes = self.dimensions
        return sum(out * (into + 1) for into, out in itertools.pairwise(sizes))

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
        """Digest of every knob and the training version: equal keys, equal results."""
        return digest({**self.to_record(), "training_version": TRAINING_VERSION})

    @property
    def trajectory_key(self) -> str:
        """Digest of what determines each step, that is all but the stopping knobs."""
        record = {**self.to_record(), "training_version": TRAINING_VERSION}
        for knob in STOPPING_KNOBS:
            del record[knob]
        return digest(record)

    def to_record(self) -> dict[str, Any]:
        """The specification as a JSON object; `from_record` reads it back."""
        # Not dataclasses.asdict, whose deep copies take a tenth of the time that planning takes.
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        record["dataset_settings"] = json.loads(self.dataset_settings)
        record["snapshot_also"] = list(self.snapshot_also)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunSpec:
        """The specification that `to_record` wrote. Raises: TypeError where a knob is missing."""
        values = dict(record)
        values["dataset_settings"] = canonical_json(values["dataset_settings"])
        values["snapshot_also"] = tuple(values["snapshot_also"])
        return cls(**values)

    def differences(self, other: RunSpec) -> list[str]:
        """The knobs in which two specifications differ, as `name: mine, theirs` lines."""
        return [
            f"{field.name}: {getattr(self, field.name)!r}, there {getattr(other, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


def expand(config: Mapping[str, Any]) -> dict[str, RunSpec]:
    """Every run of the selected experiments, by its folder (`EXP/nN/RUN`), in the paper's order.

    The config must have passed `eosflow.workflow.config.check`.
    """
    runs: dict[str, RunSpec] = {}
    for name in config["select"]:
        experiment = config["experiments"][name]
        settings = canonical_json(config["datasets"][experiment["dataset"]])
        solver = {**config["solver"], **experiment.get("solver", {})}
        for n in experiment["n"]:
            for init_seed in config["seeds"]["initialization"]:
                for subset_seed in config["seeds"]["subset"]:
                    spec = RunSpec(
                        experiment=name,
                        dataset=experiment["dataset"],
                        dataset_settings=settings,
                        criterion=experiment["criterion"],
                        n=int(n),
                        init_seed=int(init_seed),
                        subset_seed=int(subset_seed),
                        width=int(config["network"]["width"]),
                        depth=int(config["network"]["depth"]),
                        activation=config["network"]["activation"],
                        gain=float(config["network"]["gain"]),
                        integrator=solver["integrator"],
                        max_step_size=float(solver["max_step_size"]),
                        eigen_tolerance=float(solver["eigen_tolerance"]),
                        eigen_dtype=solver["eigen_dtype"],
                        max_block_products=int(solver["max_block_products"]),
                        target_loss=float(experiment["target_loss"]),
                        max_iterations=int(solver["max_iterations"]),
                        snapshot_every=int(config["snapshots"]["every"]),
                        snapshot_also=tuple(sorted(config["snapshots"]["also"])),
                    )
                    runs[str(spec.folder)] = spec
    return runs


def subset_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """N_max of each dataset: the rows its subset files hold, the largest N that an experiment uses.

    All experiments count, selected or not, so that selecting one leaves the files as they are.
    """
    sizes: dict[str, int] = {}
    for experiment in config["experiments"].values():
        name = experiment["dataset"]
        sizes[name] = max(sizes.get(name, 0), *(int(n) for n in experiment["n"]))
    return sizes


def step_name(iteration: int) -> str:
    """The name of a snapshot, `step` and six digits; a seventh digit just makes it longer."""
    return f"step{iteration:06d}"
