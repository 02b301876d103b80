"""Bring the records of runs made by version 0.1 into the form that this version reads.

Their numbers stay as they are; only what a run is called by is written anew. Version 0.1 kept a
specification as one flat list of knobs, all of which were in the key.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eosflow.runs.folder import CHECKPOINT
from eosflow.runs.spec import RunSpec
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json
from eosflow.storage.tensors import load_tensors, save_tensors

log = logging.getLogger(__name__)

# The last training version that wrote the flat form.
FLAT_VERSION = 1
_NETWORK = ("width", "depth", "activation", "gain")
_OPTIMIZER = ("max_step_size", "eigen_tolerance", "eigen_dtype", "max_block_products")
_COMMON = ("experiment", "criterion", "n", "init_seed", "subset_seed", "target_loss")


def migrate(results: Path) -> tuple[int, int]:
    """Rewrite every run of a results folder that is in the old form; again is harmless.

    A run is rewritten only where its old key is that of its own specification. Times of files stay,
    so that nothing made of them counts as older. Returns: how many were rewritten, and how many
    were in the new form already.

    Raises: UserError where the folder holds no runs, or naming those whose records are damaged.
    """
    rewritten = current = 0
    damaged: list[str] = []
    for path in _records(results):
        try:
            record = read_json(path)
            if isinstance(record["spec"]["network"], Mapping):
                current += 1
                continue
        except (ValueError, TypeError):
            damaged.append(str(path))
            continue
        except KeyError:  # the flat form has no part called network
            pass
        if record.get("key") != _flat_key(record["spec"]):
            damaged.append(str(path))
            continue
        _rewrite(path, record)
        rewritten += 1
    if damaged:
        raise UserError(
            "These records do not match their own keys and were left as they are; the other "
            f"{rewritten} runs were rewritten:\n  " + "\n  ".join(damaged)
        )
    if not rewritten + current:
        raise UserError(f"{results} holds no runs: there is no EXP/nN/RUN/run.json below it.")
    return rewritten, current


def _records(results: Path) -> Iterator[Path]:
    yield from sorted(results.glob("*/n*/*/run.json"))


def _flat_key(spec: Mapping[str, Any]) -> str:
    return digest({**spec, "training_version": FLAT_VERSION})


def new_spec(flat: Mapping[str, Any]) -> RunSpec:
    """The specification that a flat list of knobs stands for."""
    return RunSpec.from_record(
        {
            **{name: flat[name] for name in _COMMON},
            "dataset": {"name": flat["dataset"], **flat["dataset_settings"]},
            "network": {"name": "mlp", **{name: flat[name] for name in _NETWORK}},
            "optimizer": {"name": flat["integrator"], **{name: flat[name] for name in _OPTIMIZER}},
            "batch": {"name": "full"},
            "stop": {"max_iterations": flat["max_iterations"]},
            "snapshots": {
                "name": "iterations",
                "every": flat["snapshot_every"],
                "also": flat["snapshot_also"],
            },
        }
    )


def _rewrite(path: Path, record: dict[str, Any]) -> None:
    spec = new_spec(record["spec"])
    folder = path.parent
    names = {"spec": spec.to_record(), "key": spec.key, "trajectory_key": spec.trajectory_key}
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        _rewrite_checkpoint(checkpoint, spec)
    if "manifest" in record:
        record["manifest"]["key"] = spec.key
        _keeping_time(folder / "manifest.json", record["manifest"])
    _keeping_time(path, {**record, **names})  # last: until then, all of it can be done again
    log.info("%s: key %s is now %s", folder, record["key"], spec.key)


def _keeping_time(path: Path, content: dict[str, Any]) -> None:
    if not path.exists():
        return
    before = path.stat()
    write_json(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _rewrite_checkpoint(path: Path, spec: RunSpec) -> None:
    tensors, metadata = load_tensors(path)
    if "start" not in tensors:  # rewritten before
        return
    optimizer: dict[str, Any] = {"steps": metadata["iteration"]}
    if (limit := metadata.pop("step_limit")) is not None:
        optimizer["step_limit"] = limit
    moved = {name: f"optimizer.{name}" for name in ("start", "previous")}
    renamed = {moved.get(name, name): tensor for name, tensor in tensors.items()}
    metadata |= {"optimizer": optimizer, "batch": {}, "trajectory_key": spec.trajectory_key}
    save_tensors(path, renamed, metadata)
