"""Decomposition of the snapshots of one run: which, from what, into which files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosflow.measurements.decomposition import decompose
from eosflow.networks.mlp import Network
from eosflow.objectives.mlp import Objective
from eosflow.runs.folder import make_objective
from eosflow.runs.spec import DECOMPOSITION_VERSION, RunSpec, step_name
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256, write_json
from eosflow.storage.tensors import DamagedFile, load_tensors


def snapshot_key(entry: dict[str, Any]) -> str:
    """What the decomposition of a snapshot depends on: its contents and how it is computed."""
    return digest([entry["sha256"], DECOMPOSITION_VERSION])


class RunDecomposer:
    """Decomposes the snapshots that a run's manifest lists, into its `decomposition` folder."""

    def __init__(self, folder: Path, subset_path: Path, device: str = "cpu") -> None:
        self.folder = folder
        record = read_json(folder / "run.json")
        self.spec = RunSpec.from_record(record["spec"])
        self.manifest = read_json(folder / "manifest.json")
        self._device = torch.device(device)
        self._subset_path = subset_path
        self._objective: Objective | None = None

    def entry(self, iteration: int) -> dict[str, Any]:
        """The manifest's entry of a snapshot. Raises: UserError naming the iterations there are."""
        entries = {entry["iteration"]: entry for entry in self.manifest["snapshots"]}
        if iteration not in entries:
            known = ", ".join(str(number) for number in sorted(entries))
            raise UserError(
                f"{self.folder} has no snapshot of iteration {iteration}. It has snapshots of "
                f"iterations {known}."
            )
        return dict(entries[iteration])

    def snapshot(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Decompose one snapshot, or read it where that was done; returns its index entry."""
        path = self.folder / "decomposition" / f"{step_name(entry['iteration'])}.json"
        key = snapshot_key(entry)
        if _stored_key(path) != key:
            theta = self._load(entry)
            if self._objective is None:
                self._objective = make_objective(self.spec, self._subset_path, self._device)
            record = {
                "iteration": entry["iteration"],
                "flow_time": entry["flow_time"],
                **decompose(self._objective, theta.to(self._device)),
                "version": DECOMPOSITION_VERSION,
                "key": key,
            }
            write_json(path, record)
        return {"iteration": entry["iteration"], "file": path.name, "sha256": sha256(path)}

    def _load(self, entry: dict[str, Any]) -> Tensor:
        path = self.folder / entry["file"]
        if not path.is_file() or sha256(path) != entry["sha256"]:
            # Without the manifest the next run of the workflow trains this run again.
            (self.folder / "manifest.json").unlink(missing_ok=True)
            raise DamagedFile(
                path,
                "it is missing or does not match the manifest's checksum. The run's manifest was "
                "removed: start the workflow again and the snapshot is made anew",
            )
        tensors, _ = load_tensors(path)
        return Network(self.spec.dimensions, self.spec.activation).flatten(tensors)


def _stored_key(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["key"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def decompose_snapshot(
    folder: Path, iteration: int, subset_path: Path, device: str = "cpu"
) -> dict[str, Any]:
    """Make `decomposition/stepNNNNNN.json` of one snapshot; returns its index entry."""
    run = RunDecomposer(folder, subset_path, device)
    return run.snapshot(run.entry(iteration))


def decompose_run(folder: Path, subset_path: Path, device: str = "cpu") -> dict[str, Any]:
    """Make every snapshot's decomposition that is missing, then `decomposition/index.json`."""
    run = RunDecomposer(folder, subset_path, device)
    entries = [run.snapshot(entry) for entry in run.manifest["snapshots"]]
    index = {"key": digest(entries), "version": DECOMPOSITION_VERSION, "snapshots": entries}
    write_json(folder / "decomposition" / "index.json", index)
    return index
