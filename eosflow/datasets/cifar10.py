"""CIFAR-10 from its binary version: ten classes of 32 × 32 colour photographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eosflow.datasets.archives import read_members
from eosflow.datasets.catalog import CATALOG
from eosflow.datasets.pool import Integers, Pool, Resources
from eosflow.storage.errors import UserError

BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
NAMES = "batches.meta.txt"
RECORDS = 10_000  # in each batch
PIXELS = 3 * 32 * 32


def parse_batch(content: bytes, name: str) -> tuple[Integers, NDArray[np.uint8]]:
    """Labels int64 (10000,) and pixels uint8 (10000, 3072) of one batch file.

    A record is a label byte and the red, green and blue planes, each by rows from top to bottom.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html. `name` is the file's, for messages.

    Raises: UserError where the size or a label is wrong.
    """
    size = RECORDS * (1 + PIXELS)
    if len(content) != size:
        raise UserError(
            f"{name} has {len(content)} bytes, expected {size}; delete the archive and fetch it "
            "again"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(RECORDS, 1 + PIXELS)
    labels = records[:, 0].astype(np.int64)
    classes = len(CATALOG["cifar10"].class_names)
    if (wrong := np.flatnonzero(labels >= classes)).size:
        raise UserError(
            f"{name}, record {wrong[0]}: label {labels[wrong[0]]}, expected 0 to {classes - 1}; "
            "delete the archive and fetch it again"
        )
    return labels, records[:, 1:]


def _check_names(content: bytes, archive: Path) -> None:
    names = tuple(content.decode("ascii", "replace").split())
    if names != CATALOG["cifar10"].class_names:
        raise UserError(
            f"{archive}: {NAMES} names the classes {' '.join(names)}, expected "
            f"{' '.join(CATALOG['cifar10'].class_names)}: this is another archive"
        )


def open_pool(settings: Mapping[str, Any], resources: Resources) -> Pool:
    """The 50,000 training images in the order of the five batches. Inputs: uint8, D = 3072.

    An input is the red, then the green, then the blue plane; the run sees values in [0, 1].
    """
    assert resources.archive is not None  # the catalog lists one archive
    members = read_members(resources.archive, [*BATCHES, NAMES])
    _check_names(members[NAMES], resources.archive)
    batches = [parse_batch(members[name], f"{resources.archive}: {name}") for name in BATCHES]
    pixels = [batch for _, batch in batches]

    def inputs(rows: Integers) -> NDArray[np.uint8]:
        chosen = np.empty((len(rows), PIXELS), dtype=np.uint8)
        for number, batch in enumerate(pixels):
            here = rows // RECORDS == number
            chosen[here] = batch[rows[here] % RECORDS]
        return chosen

    return Pool(
        labels=np.concatenate([labels for labels, _ in batches]),
        inputs=inputs,
        scale=1 / 255,
        preprocessing={"pixels": "red, green, blue planes by rows, in [0, 1]; not centred"},
    )
