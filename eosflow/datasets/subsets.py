"""Subset files: nested random subsets of a training split, drawn once and read by every run."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eosflow.datasets import catalog
from eosflow.datasets.pool import Integers, Pool, Resources
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, replacing, sha256, write_json

log = logging.getLogger(__name__)

SHOWN = 200  # texts kept in the record, for people to look at
DRAW = (
    "the first `size` entries of numpy.random.Generator(PCG64(SeedSequence([seed, h])))"
    ".permutation(pool), h the first 8 bytes (big-endian) of SHA-256 of the dataset's name"
)


def draw_rows(dataset: str, seed: int, pool: int, size: int) -> Integers:
    """Rows of the training split in subset `seed`: `size` of `pool`, without replacement.

    A smaller size gives the first rows of a larger one. int64 (size,); the algorithm is DRAW.

    Raises: UserError where the pool is smaller than `size`.
    """
    if size > pool:
        raise UserError(
            f"{dataset}: a subset of {size} was asked for, but the training split has {pool}. "
            f"Ask for at most {pool} in `experiments`."
        )
    name = int.from_bytes(hashlib.sha256(dataset.encode()).digest()[:8], "big")
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, name])))
    return generator.permutation(pool)[:size]


def write_subset(
    open_pool: Callable[[Mapping[str, Any], Resources], Pool],
    dataset: str,
    settings: Mapping[str, Any],
    seed: int,
    size: int,
    resources: Resources,
    output: Path,
) -> dict[str, Any]:
    """Draw subset `seed` of `size` rows, write it to `output` (.npz) and its record beside it.

    The .npz holds inputs (size, D), labels (size,), indices (size,) into the training split, and
    `scale`, the factor that makes inputs of stored values. Returns the record, the .json beside it.

    Raises: UserError where the dataset's content is not what the catalog says.
    """
    facts = catalog.CATALOG[dataset]
    if facts.archives and resources.archive is None:
        raise UserError(
            f"{dataset} is read from {facts.archives[0].name}: fetch it with scripts/fetch.py and "
            "say with --archive where it is"
        )
    pool = open_pool(settings, resources)
    _check_pool(dataset, settings, pool)
    rows = draw_rows(dataset, seed, len(pool.labels), size)
    labels = pool.labels[rows]
    inputs = pool.inputs(rows)
    if inputs.shape[1] != (dimension := catalog.input_dimension(dataset, settings)):
        raise UserError(
            f"{dataset}: an input has {inputs.shape[1]} values, expected {dimension} with the "
            f"settings {dict(settings)}"
        )
    log.info("%s subset %d: %d of %d", dataset, seed, size, len(pool.labels))
    contents = _contents(catalog.class_names(dataset, settings), inputs, labels)
    write_arrays(
        output,
        {"inputs": inputs, "labels": labels, "indices": rows, "scale": np.float64(pool.scale)},
    )
    record = {
        "dataset": dataset,
        "settings": dict(settings),
        "subset_seed": seed,
        "size": size,
        "pool": len(pool.labels),
        "draw": DRAW,
        **contents,
        "inputs": {"dtype": str(inputs.dtype), "dimension": inputs.shape[1], "scale": pool.scale},
        "preprocessing": pool.preprocessing,
        "source": _source(facts, resources.archive),
        "licence": facts.licence,
        "citation": facts.citation,
        "sha256": sha256(output),
        "numpy": np.__version__,
        "subset_version": catalog.SUBSET_VERSION,
    }
    if pool.texts is not None:
        record["texts"] = [
            {"label": int(pool.labels[row]), "text": pool.texts[row]}
            for row in rows[:SHOWN].tolist()
        ]
    write_json(output.with_suffix(".json"), record)
    return record


def _contents(names: Sequence[str], inputs: NDArray[Any], labels: Integers) -> dict[str, Any]:
    """`class_counts` and `cross_entropy_floor` of the record, which are said in the log too."""
    counts = np.bincount(labels, minlength=len(names)).tolist()
    for name, count in zip(names, counts, strict=True):
        log.info("  %-16s %6d  %5.1f %%", name, count, 100 * count / len(labels))
    floor = cross_entropy_floor(inputs, labels)
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


def _check_pool(dataset: str, settings: Mapping[str, Any], pool: Pool) -> None:
    expected = catalog.pool_size(dataset, settings)
    if len(pool.labels) != expected:
        raise UserError(
            f"{dataset}: the training split has {len(pool.labels)} examples, where the published "
            f"one has {expected}. The archive is incomplete or another one: delete it and fetch "
            "it again."
        )
    names = catalog.class_names(dataset, settings)
    missing = sorted(set(range(len(names))) - set(pool.labels.tolist()))
    if missing:
        raise UserError(
            f"{dataset}: no example of class {', '.join(names[label] for label in missing)} in the "
            "training split. The archive is incomplete: delete it and fetch it again."
        )


def _source(facts: catalog.DatasetFacts, archive: Path | None) -> dict[str, Any]:
    if archive is None:
        return {"generated": f"by eosflow.datasets.{facts.name}"}
    record = archive.with_name(archive.name + ".json")
    fetched = read_json(record) if record.exists() else {"file": archive.name}
    return {**fetched, "sha256": sha256(archive)}


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file, atomically, whose bytes depend on the arrays alone.

    `numpy.savez` stores the time of day in it, and the checksum in a run's record would change.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def load_subset(path: Path | str, n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The first n rows of a subset file: inputs float64 (n, D) and labels int64 (n,).

    Raises: UserError where the file is absent, damaged or holds fewer than n rows.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs, labels = arrays["inputs"], arrays["labels"]
            scale = float(arrays["scale"])
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; make it with scripts/subset.py") from error
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is not a subset file or is damaged ({error}); delete it and make it again "
            "with scripts/subset.py"
        ) from error
    if not 0 < n <= len(labels) or len(inputs) != len(labels):
        raise UserError(
            f"{path} has {len(labels)} rows, {n} were asked for; ask for 1 to {len(labels)}, or "
            "make the file again with a larger size"
        )
    # The product in float64, once: compact storage must not cost precision at the run.
    return inputs[:n].astype(np.float64) * scale, labels[:n].astype(np.int64)
