"""Subset files: nested random subsets of a training split, drawn once and read by every run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eosflow.datasets.base import (
    SUBSET_VERSION,
    DatasetSettings,
    Pool,
    Resources,
    SubsetRecord,
    damaged,
)
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.storage.files import (
    readable,
    replacing,
    set_aside,
    sha256,
    write_json,
)
from eosflow.storage.foreign import foreign

if TYPE_CHECKING:
    from eosflow.datasets.base import Integers, Targets

log = logging.getLogger(__name__)

DRAW = (
    "the first `size` entries of numpy.random.Generator(PCG64(SeedSequence([seed, h])))"
    ".permutation(pool), h the first 8 bytes (big-endian) of SHA-256 of the dataset's name"
)


def draw_rows(name: str, seed: int, pool: int, size: int) -> Integers:
    """Rows of the training split in subset `seed`: `size` of `pool`, without replacement.

    A smaller size gives the first rows of a larger one. int64 (size,); the algorithm is DRAW.

    Raises: UserError if the pool is smaller than `size`.
    """
    if size > pool:
        raise UserError(
            f"{name}: a subset of {size} was asked for, but the training split has {pool}. "
            f"Ask for at most {pool} in `experiments`."
        )
    stream = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))
    return generator.permutation(pool)[:size]


def write_subset(
    name: str,
    dataset: DatasetSettings,
    seed: int | None,
    size: int,
    resources: Resources,
    output: Path,
) -> dict[str, Any]:
    """Draw subset `seed` of `size` rows, write it to `output` (.npz) and its record beside it.

    None as `seed` draws held-out examples, of the test split. `name` is what the config calls the
    dataset. The .npz holds inputs (size, D), labels int64 (size,) or float64 (size,) or (size, C),
    indices (size,) into the split, and `scale`, the factor that makes inputs of stored values.
    Returns the record, the .json beside it.

    Raises: UserError if the dataset's content is not what its module says.
    """
    facts = dataset.described()
    if facts.archives and resources.archive is None:
        raise UserError(
            f"{name} is read from {facts.archives[0].name}, which is not there: fetch it first"
        )
    held_out = seed is None
    pool = dataset.open(resources, held_out)
    _check_pool(name, dataset, pool, dataset.size(held_out))
    stream = f"{name}, held out" if held_out else name
    rows = draw_rows(stream, seed or 0, len(pool.labels), size)
    labels = pool.labels[rows]
    inputs = pool.inputs(rows)
    given = settings.record(dataset)
    kind = given.pop("name")
    if inputs.shape[1] != dataset.dimension():
        raise UserError(
            f"{name}: an input has {inputs.shape[1]} values, expected {dataset.dimension()} with "
            f"the settings {given}"
        )
    for values in (inputs, labels):
        _check_finite(name, values, rows)
    which = "held out" if held_out else f"subset {seed}"
    log.info("%s %s: %d of %d", name, which, size, len(pool.labels))
    contents = _contents(dataset.class_names(), inputs, labels)
    write_arrays(
        output,
        {"inputs": inputs, "labels": labels, "indices": rows, "scale": np.float64(pool.scale)},
    )
    record = {
        "dataset": name,
        "kind": kind,
        "settings": given,
        "subset_seed": seed,
        "size": size,
        "pool": len(pool.labels),
        "draw": DRAW,
        **contents,
        "shape": list(dataset.input_shape()),
        "inputs": {"dtype": str(inputs.dtype), "dimension": inputs.shape[1], "scale": pool.scale},
        "preprocessing": pool.preprocessing,
        "source": _source(dataset, resources.archive),
        "licence": facts.licence,
        "citation": facts.citation,
        "sha256": sha256(output),
        "numpy": np.__version__,
        "subset_version": SUBSET_VERSION,
    }
    write_json(output.with_suffix(".json"), record)
    return record


def _contents(names: Sequence[str] | None, inputs: NDArray[Any], labels: Targets) -> dict[str, Any]:
    """What the record says of the targets, and the log too.

    For classes `class_counts` and `cross_entropy_floor`; for numbers `targets`, the least, the mean
    and the largest value of each output.
    """
    if names is None:
        columns = labels.reshape(len(labels), -1)
        summary = {
            "min": columns.min(axis=0).tolist(),
            "mean": columns.mean(axis=0).tolist(),
            "max": columns.max(axis=0).tolist(),
        }
        for output, (low, mean, high) in enumerate(zip(*summary.values(), strict=True), start=1):
            log.info("  number %d: %g to %g, mean %g", output, low, high, mean)
        return {"targets": summary}
    counts = np.bincount(labels, minlength=len(names)).tolist()
    for name, count in zip(names, counts, strict=True):
        log.info("  %-16s %6d  %5.1f %%", name, count, 100 * count / len(labels))
    floor = cross_entropy_floor(inputs, labels.astype(np.int64))
    if floor > 0:
        log.warning(
            "equal inputs with different labels: no network gets below a cross-entropy of %.4f on "
            "these %d examples",
            floor,
            len(labels),
        )
    return {
        "class_counts": dict(zip(names, counts, strict=True)),
        "cross_entropy_floor": floor,
    }


def cross_entropy_floor(inputs: NDArray[Any], labels: Integers) -> float:
    """The lowest mean cross-entropy that any classifier can reach on these examples.

    Zero unless equal inputs carry different labels: a group of such examples costs at least the
    entropy of its labels. inputs (n, D), labels (n,); in nats.
    """
    groups: dict[bytes, list[int]] = {}
    for row, label in zip(inputs, labels.tolist(), strict=True):
        groups.setdefault(row.tobytes(), []).append(label)
    total = 0.0
    for group in groups.values():
        counts = np.bincount(group)
        counts = counts[counts > 0]
        total -= float(np.sum(counts * np.log(counts / len(group))))
    return total / len(labels) + 0.0  # without the sign of a negative zero


def _check_pool(name: str, dataset: DatasetSettings, pool: Pool, expected: int) -> None:
    if len(pool.labels) != expected:
        raise UserError(
            f"{name}: the split has {len(pool.labels)} examples, where the published "
            f"one has {expected}. The archive is incomplete or another one: delete it and fetch "
            "it again."
        )
    names = dataset.class_names()
    if names is None:
        return
    present = set(pool.labels.tolist())
    if strange := sorted(present - set(range(len(names)))):
        raise UserError(
            f"{name}: label {strange[0]} in the training split, expected 0 to {len(names) - 1}. "
            "The source is damaged: repair it or fetch it again."
        )
    missing = sorted(set(range(len(names))) - present)
    if missing:
        raise UserError(
            f"{name}: no example of class {', '.join(names[label] for label in missing)} in the "
            "training split. The archive is incomplete: delete it and fetch it again."
        )


def _check_finite(name: str, values: NDArray[Any], rows: Integers) -> None:
    if values.dtype.kind in "biu" or (fine := np.isfinite(values)).all():
        return
    wrong = rows[~fine.reshape(len(values), -1).all(axis=1)]
    raise UserError(
        f"{name}: {len(wrong)} of {len(values)} rows hold NaN or infinity, one of them is row "
        f"{wrong.min()} of the data; only finite numbers can be trained on. Repair the source and "
        "draw again."
    )


def _source(dataset: DatasetSettings, archive: Path | None) -> dict[str, Any]:
    for path in map(Path, dataset.sources()):
        return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
    if archive is None:
        return {"generated": f"by {type(dataset).__module__}"}
    fetched = readable(archive.with_name(archive.name + ".json")) or {}
    return {"file": archive.name, **fetched, "sha256": sha256(archive)}


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file, atomically. Its bytes depend on the arrays alone: it holds no time."""
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def load_subset(path: Path | str, n: int) -> tuple[NDArray[np.float64], Targets]:
    """The first n rows of a subset file: inputs float64 (n, D) and targets.

    Targets: classes as int64 (n,), or numbers to fit as float64 (n, C).

    Raises: UserError if the file is absent, not what its record says, or has fewer than n rows.
    """
    path = Path(path)
    if not path.is_file():
        what = "is no file: move it away and" if path.exists() else "does not exist:"
        raise UserError(f"{path} {what} start the workflow, which draws it")
    record = SubsetRecord.beside(path)
    # The record of an excerpt, which is kept as evidence, has no checksum.
    if record and record.sha256 and sha256(path) != record.sha256:
        set_aside(path, "checksum")
        raise UserError(
            f"{path} is damaged: it does not match {path.with_suffix('.json').name}. It "
            "was moved aside; start the workflow again, which draws it again."
        )
    with (
        foreign(lambda why: damaged(path, why)),
        np.load(path, allow_pickle=False) as arrays,
    ):
        inputs, labels = arrays["inputs"], arrays["labels"]
        scale = float(arrays["scale"])
    if not 0 < n <= len(labels):
        raise UserError(
            f"{path} has {len(labels)} rows, {n} were asked for; ask for 1 to {len(labels)}, or "
            "delete the file and start the workflow again, which draws it again"
        )
    # The product in float64, once: compact storage must not cost precision at the run.
    values = inputs[:n].astype(np.float64) * scale
    if labels.dtype.kind == "f":
        return values, labels[:n].astype(np.float64).reshape(n, -1)
    return values, labels[:n].astype(np.int64)
