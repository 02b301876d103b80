"""CIFAR-10 and CIFAR-100 from their binary versions: photographs of 32 × 32 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.datasets.base import Archive, DatasetSettings, Facts, Pool, Resources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.base import Integers

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
Scaling = Literal["unit", "standardised"]  # what the numbers of an input are
NOISE_STREAM = 0x6C6162656C73  # "labels": the second half of the key of the random numbers


def noisy_labels(labels: Integers, classes: int, share: float, seed: int) -> Integers:
    """Labels (n,) of which each is replaced, with probability `share`, by a uniformly drawn class.

    The drawn class may be the right one, so that share · (1 − 1/C) of the labels end up wrong. Row
    i takes words 2i and 2i + 1 of a Philox stream whose key is `seed`: what becomes of a row
    depends on its number and the seed alone, and a larger share keeps what a smaller one replaced.
    """
    import numpy as np

    stream = np.random.Generator(np.random.Philox(key=[seed, NOISE_STREAM]))
    chance, drawn = stream.random((len(labels), 2)).T
    return np.where(chance < share, (drawn * classes).astype(np.int64), labels)


class CIFAR(DatasetSettings):
    """Photographs of 32 × 32 pixels: as what numbers they are read, and whether labels are wrong.

    `training` and `test` are the files of each split with the number of their records, `names_file`
    lists the `classes`, and a record begins with `label_bytes` labels.
    """

    classes: ClassVar[tuple[str, ...]]
    label_bytes: ClassVar[int]
    training: ClassVar[Mapping[str, int]]
    test: ClassVar[Mapping[str, int]]
    names_file: ClassVar[str]

    scaling: Scaling = Field(
        "unit",
        description="unit: values in [0, 1]; standardised: each of the 3072 values with mean "
        "0 and standard deviation 1 over all training images, as in Cohen et al. "
        "2021",
    )
    label_noise: float = Field(
        0.0,
        description="share of the training labels replaced by a class drawn uniformly from "
        "all, possibly the correct one; test labels do not change",
        ge=0,
        le=1,
    )
    noise_seed: int = Field(0, description="seed of the label noise", ge=0)

    def input_shape(self) -> tuple[int, ...]:
        """(3, 32, 32): colours, rows, columns."""
        return SHAPE

    def class_names(self) -> tuple[str, ...]:
        return self.classes

    def size(self, held_out: bool = False) -> int:
        return sum((self.test if held_out else self.training).values())

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """The images of a split in the order of its files. Inputs: D = 3072.

        An input is the red, then the green, then the blue plane, uint8; the run sees values in
        [0, 1], or standardised ones, which are float32. The labels of the test split have no noise.
        """
        import numpy as np

        standardised = self.scaling == "standardised"
        files = self.test if held_out else self.training
        wanted = {**files, **self.training} if standardised else files
        with resources.members(*wanted, self.names_file) as members:
            self._check_names(members[self.names_file])
            labels, pixels = self._parse(members, files)
            if standardised:
                _, training = self._parse(members, self.training) if held_out else (labels, pixels)
                mean, deviation = _mean_and_deviation(training)

        def inputs(rows: Integers) -> NDArray[Any]:
            chosen = pixels[rows]
            return ((chosen - mean) / deviation).astype(np.float32) if standardised else chosen

        scaled = (
            "each minus its mean, over its standard deviation, over all training images"
            if standardised
            else "in [0, 1]; not centred"
        )
        preprocessing: dict[str, Any] = {"pixels": f"red, green, blue planes by rows, {scaled}"}
        if self.label_noise and not held_out:
            right, count = labels, len(self.classes)
            labels = noisy_labels(right, count, self.label_noise, self.noise_seed)
            preprocessing["label_noise"] = (
                f"each label replaced with probability {self.label_noise:g} by one of all {count} "
                "classes, drawn uniformly"
            )
            preprocessing["wrong_labels"] = int(np.count_nonzero(labels != right))
        return Pool(labels, inputs, 1.0 if standardised else 1 / 255, preprocessing)

    def _parse(
        self, members: Mapping[str, bytes], files: Mapping[str, int]
    ) -> tuple[Integers, NDArray[np.uint8]]:
        """Labels int64 (n,) and pixels uint8 (n, 3072) of all files.

        A record is `label_bytes` labels, of which the last is meant, and the red, green and blue
        planes, each by rows from top to bottom. Source: https://www.cs.toronto.edu/~kriz/cifar.html

        Raises: ValueError if the size of a file or a label is wrong.
        """
        import numpy as np

        length = self.label_bytes + PIXELS
        for name, records in files.items():
            if len(members[name]) != records * length:
                size = len(members[name])
                raise ValueError(f"{name} has {size} bytes, expected {records * length}")
        content = b"".join(members[name] for name in files)
        rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, length)
        return rows[:, self.label_bytes - 1].astype(np.int64), rows[:, self.label_bytes :]

    def _check_names(self, content: bytes) -> None:
        names = tuple(content.decode("ascii", "replace").split(maxsplit=len(self.classes)))
        if names != self.classes:
            raise ValueError(
                f"{self.names_file} names the classes {' '.join(names):.300}, expected "
                f"{' '.join(self.classes)}"
            )


def _mean_and_deviation(
    pixels: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each value, over all rows (n, 3072): from whole numbers, in which no order matters."""
    import numpy as np

    count = len(pixels)
    first = pixels.sum(axis=0, dtype=np.int64)
    second = np.einsum("ij,ij->j", pixels, pixels, dtype=np.int64)
    return first / count, np.sqrt(count * second - first**2) / count


def _facts(title: str, name: str, sha256: str) -> Facts:
    archive = Archive(name, f"https://www.cs.toronto.edu/~kriz/{name}", sha256)
    return Facts(
        title,
        (archive,),
        licence="none stated by its authors; research use with citation",
        citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    )


_TEN = "airplane automobile bird cat deer dog frog horse ship truck"


class CIFAR10(CIFAR):
    """CIFAR-10: scaling of the published photographs, and label noise."""

    name: ClassVar[str] = "cifar10"
    facts: ClassVar[Facts] = _facts(
        "CIFAR-10",
        "cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    )
    classes: ClassVar[tuple[str, ...]] = tuple(_TEN.split())
    label_bytes: ClassVar[int] = 1
    training: ClassVar[Mapping[str, int]] = {
        f"data_batch_{number}.bin": 10_000 for number in range(1, 6)
    }
    test: ClassVar[Mapping[str, int]] = {"test_batch.bin": 10_000}
    names_file: ClassVar[str] = "batches.meta.txt"


# The fine classes, in the order of fine_label_names.txt.
_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


class CIFAR100(CIFAR):
    """CIFAR-100: scaling of the published photographs, and label noise."""

    name: ClassVar[str] = "cifar100"
    facts: ClassVar[Facts] = _facts(
        "CIFAR-100",
        "cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    )
    classes: ClassVar[tuple[str, ...]] = tuple(_FINE.split())
    label_bytes: ClassVar[int] = 2  # one of 20 coarse classes, which is not used, then the fine one
    training: ClassVar[Mapping[str, int]] = {"train.bin": 50_000}
    test: ClassVar[Mapping[str, int]] = {"test.bin": 10_000}
    names_file: ClassVar[str] = "fine_label_names.txt"
