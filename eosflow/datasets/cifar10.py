"""CIFAR-10 from its binary version: ten classes of 32 × 32 colour photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eosflow.datasets.base import Archive, Facts
from eosflow.datasets.cifar import CIFAR

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


class CIFAR10(CIFAR):
    """CIFAR-10: scaling of the published photographs, and label noise."""

    name: ClassVar[str] = "cifar10"
    facts: ClassVar[Facts] = FACTS
    classes: ClassVar[tuple[str, ...]] = CLASSES
    label_bytes: ClassVar[int] = 1
    training: ClassVar[Mapping[str, int]] = {
        f"data_batch_{number}.bin": 10_000 for number in range(1, 6)
    }
    test: ClassVar[Mapping[str, int]] = {"test_batch.bin": 10_000}
    names_file: ClassVar[str] = "batches.meta.txt"
