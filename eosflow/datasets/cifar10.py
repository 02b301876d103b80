"""CIFAR-10 from its binary version: ten classes of 32 × 32 colour photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eosflow.datasets.archives import UnfitArchive, read_members
from eosflow.datasets.base import Archive, DatasetSettings, Facts, Pictures, Preview
from eosflow.datasets.pool import Pool, Resources
from eosflow.storage.settings import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
# What the numbers of an input are, and which of them a contact sheet draws as black and as white.
SCALINGS: dict[str, tuple[float, float] | None] = {"unit": (0.0, 1.0), "standardised": None}
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
    """CIFAR-10: as what numbers the published photographs are read."""

    name: ClassVar[str] = "cifar10"
    facts: ClassVar[Facts] = FACTS

    scaling: str = setting(
        "unit",
        about="unit: values in [0, 1]; standardised: each of the 3072 values with mean 0 and "
        "deviation 1 over all training images, as Cohen et al. 2021 do",
        enum=list(SCALINGS),
    )

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
        return Pictures(SHAPE, SCALINGS[self.scaling])

    def open_pool(self, resources: Resources) -> Pool:
        """The 50,000 training images in the order of the five batches. Inputs: uint8, D = 3072.

        An input is the red, then the green, then the blue plane; the run sees values in [0, 1],
        or standardised ones, which are float32.
        """
        return self._pool(resources, BATCHES)

    def held_out_size(self) -> int:
        """The published test images."""
        return 10_000

    def open_held_out(self, resources: Resources) -> Pool:
        """The 10,000 test images in the order of their batch. Inputs: as `open_pool`.

        Standardised by the means and the deviations of the training images.
        """
        return self._pool(resources, TEST_BATCHES)

    def _pool(self, resources: Resources, names: tuple[str, ...]) -> Pool:
        import numpy as np

        assert resources.archive is not None  # FACTS lists one archive
        standardised = self.scaling == "standardised"
        wanted = {*names, *BATCHES} if standardised else {*names}
        members = read_members(resources.archive, [*sorted(wanted), NAMES])
        _check_names(members[NAMES], resources.archive)
        batches = {
            name: parse_batch(members[name], f"{resources.archive}: {name}")
            for name in sorted(wanted)
        }
        values = _standardised([batches[name][1] for name in BATCHES]) if standardised else None

        def inputs(rows: Integers) -> NDArray[Any]:
            chosen = np.empty((len(rows), PIXELS), dtype=np.uint8)
            for number, name in enumerate(names):
                here = rows // RECORDS == number
                chosen[here] = batches[name][1][rows[here] % RECORDS]
            return chosen if values is None else values(chosen)

        scaled = (
            "each minus its mean, over its standard deviation, over all training images"
            if standardised
            else "in [0, 1]; not centred"
        )
        return Pool(
            labels=np.concatenate([batches[name][0] for name in names]),
            inputs=inputs,
            scale=1.0 if standardised else 1 / 255,
            preprocessing={"pixels": f"red, green, blue planes by rows, {scaled}"},
        )


def _standardised(
    batches: Sequence[NDArray[np.uint8]],
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """x → (x − mean) / deviation, value by value, over all rows of the batches, each (·, 3072).

    From sums of whole numbers, so that no order of summation matters.
    """
    import numpy as np

    count = sum(len(batch) for batch in batches)
    first = sum(batch.sum(axis=0, dtype=np.int64) for batch in batches)
    # 255² fits into 16 bits
    second = sum(np.square(batch, dtype=np.uint16).sum(axis=0, dtype=np.int64) for batch in batches)
    mean = first / count
    deviation = np.sqrt(count * second - first**2) / count
    if (constant := np.flatnonzero(deviation == 0)).size:
        raise UnfitArchive(
            f"value {constant[0]} of {PIXELS} is the same in all training images, which cannot be "
            "brought to deviation 1: the archive is not CIFAR-10"
        )
    return lambda rows: ((rows - mean) / deviation).astype(np.float32)
