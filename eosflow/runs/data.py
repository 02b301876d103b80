"""The examples that a run is trained on and measured on: the same ones, which is checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eosflow import objectives
from eosflow.datasets.subsets import load_subset
from eosflow.objectives.base import Objective
from eosflow.runs.spec import RunSpec
from eosflow.storage.errors import UserError
from eosflow.storage.files import sha256


@dataclass(frozen=True)
class RunData:
    """The first N rows of a run's subset."""

    path: Path
    inputs: NDArray[np.float64]
    targets: NDArray[Any]

    def record(self) -> dict[str, str]:
        """What tells these rows from others: the file's checksum, and that of the rows alone.

        A subset that is drawn again with more rows is another file with the same first rows.
        """
        rows = hashlib.sha256(f"{self.inputs.shape} {self.targets.dtype}".encode())
        for array in (self.inputs, self.targets):
            rows.update(np.ascontiguousarray(array).data)
        return {
            "file": self.path.name,
            "sha256": sha256(self.path),
            "rows_sha256": rows.hexdigest(),
        }

    def objective(self, spec: RunSpec, device: torch.device) -> Objective:
        """The run's loss on these rows, in float64 on the device."""
        return objectives.make(
            spec.network.build(spec.shape, spec.outputs),
            spec.criterion,
            torch.from_numpy(self.inputs).to(device),
            torch.from_numpy(self.targets).to(device),
        )


def load_data(spec: RunSpec, subset_path: Path, rows: int | None = None) -> RunData:
    """The run's rows, or the first `rows` of the file.

    Raises: UserError if the subset holds inputs of another size.
    """
    inputs, targets = load_subset(subset_path, rows or spec.n)
    dimension = int(np.prod(spec.shape))
    if inputs.shape[1] != dimension:
        raise UserError(
            f"{subset_path} holds inputs of {inputs.shape[1]} numbers, the run {spec.folder} wants "
            f"{dimension}. Delete it and run again."
        )
    return RunData(subset_path, inputs, targets)


def make_objective(spec: RunSpec, subset_path: Path, device: torch.device) -> Objective:
    """The run's loss: the first N rows of its subset, in float64 on the device.

    Raises: UserError as `load_data`.
    """
    return load_data(spec, subset_path).objective(spec, device)
