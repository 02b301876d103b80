"""CIFAR-10 from its binary version: ten classes of 32 × 32 colour photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eosflow.datasets.archives import UnfitArchive, read_members
from eosflow.datasets.base import Archive, DatasetSettings, Facts, Pictures, Preview
from eosflow.datasets.pool import Pool, Resources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.pool import Integers

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SHAPE = (3, 32, 32)
BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_BATCHES = ("test_batch.bin",)
NAMES = "batches.meta.txt"
RECORDS = 10_000  # in each batch
PIXELS = 3 * 32 * 32
FACTS = Facts(
    title="CIFAR-10",
    archives=(
        Archive(
            name="cifar-10-binary.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
            size_limit=256 * 2**20,
        ),
    ),
    licence="none stated by its authors; research use with citation",
    citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
)


def parse_batch(content: bytes, name: str) -> tuple[Integers, NDArray[np.uint8]]:
    """Labels int64 (10000,) and pixels uint8 (10000, 3072) of one batch file.

    A record is a label byte and the red, green and blue planes, each by rows from top to bottom.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html. `name` is the file's, for messages.

    Raises: UnfitArchive where the size or a label is wrong.
    """
    import numpy as np

    size = RECORDS * (1 + PIXELS)
    if len(content) != size:
        raise UnfitArchive(f"{name} has {len(content)} bytes, expected {size}")
    records = np.frombuffer(content, dtype=np.uint8).reshape(RECORDS, 1 + PIXELS)
    labels = records[:, 0].astype(np.int64)
    if (wrong := np.flatnonzero(labels >= len(CLASSES))).size:
        raise UnfitArchive(
            f"{name}, record {wrong[0]}: label {labels[wrong[0]]}, expected 0 to {len(CLASSES) - 1}"
        )
    return labels, records[:, 1:]


def _check_names(content: bytes, archive: Path) -> None:
    names = tuple(content.decode("ascii", "replace").split())
    if names != CLASSES:
        raise UnfitArchive(
            f"{archive}: {NAMES} names the classes {' '.join(names)}, expected "
            f"{' '.join(CLASSES)}: this is another archive"
        )


@dataclass(frozen=True)
class CIFAR10(DatasetSettings):
    """CIFAR-10 as published; there is nothing to set."""

    name: ClassVar[str] = "cifar10"
    facts: ClassVar[Facts] = FACTS

    def input_shape(self) -> tuple[int, ...]:
        """(3, 32, 32): colours, rows, columns."""
        return SHAPE

    def class_names(self) -> tuple[str, ...]:
        """The ten classes."""
        return CLASSES

    def pool_size(self) -> int:
        """The published training images."""
        return 50_000

    def preview(self, shape: tuple[int, ...]) -> Preview:
        """Colour pictures."""
        return Pictures(SHAPE, (0.0, 1.0))

    def open_pool(self, resources: Resources) -> Pool:
        """The 50,000 training images in the order of the five batches. Inputs: uint8, D = 3072.

        An input is the red, then the green, then the blue plane; the run sees values in [0, 1].
        """
        return self._pool(resources, BATCHES)

    def held_out_size(self) -> int:
        """The published test images."""
        return 10_000

    def open_held_out(self, resources: Resources) -> Pool:
        """The 10,000 test images in the order of their batch. Inputs: as `open_pool`."""
        return self._pool(resources, TEST_BATCHES)

    def _pool(self, resources: Resources, names: tuple[str, ...]) -> Pool:
        import numpy as np

        assert resources.archive is not None  # FACTS lists one archive
        members = read_members(resources.archive, [*names, NAMES])
        _check_names(members[NAMES], resources.archive)
        batches = [parse_batch(members[name], f"{resources.archive}: {name}") for name in names]
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
