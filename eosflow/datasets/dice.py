"""Dice: six classes of generated grey images, drawn as R's base graphics would draw them.

The six drawings and the ranges of their parameters are Table 3 of Lowell & Kastner 2024
(arXiv:2406.00127, section 7.3). R's `png(type = "cairo")` device draws through the cairo library,
and so does this module: with equal parameters the images are equal, pixel by pixel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.datasets.base import DatasetSettings, Facts, Pool, Resources
from eosflow.datasets.dice_drawing import (
    LINE_ENDS,
    PARAMETERS,
    cairo_library,
    draw,
)
from eosflow.storage.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

    from eosflow.datasets.base import Integers

CLASSES = ("one", "two", "three", "four", "five", "six")
FACTS = Facts(
    title="Dice",
    archives=(),
    licence="generated here; MIT, as the project",
    citation="Lowell & Kastner 2024, arXiv:2406.00127, section 7.3 and Table 3",
)

# Table 3: what each class draws from, all uniform. `lend` (the line ends) is drawn where there is
# a line, from LINE_ENDS with equal chances.
RANGES: dict[int, dict[str, tuple[float, float]]] = {
    1: {"x": (-1, 1), "y": (-1, 1), "cex": (0.1, 1)},
    2: {"x": (-1, 1), "y": (-1, 1), "cex": (0.1, 1)},
    3: {"x": (-1, 1), "y": (-1, 1), "lwd": (0.1, 2.5)},
    4: {"x": (-1, 1), "y": (-1, 1), "lwd": (0.1, 1)},
    5: {"x": (0.2, 1), "y": (0.2, 1), "cex": (0.1, 0.7), "lwd": (0.1, 1)},
    6: {"x": (-0.9, 0.9), "y": (-0.9, 0.9), "lwd": (0.1, 2.5), "dx": (0.1, 0.8), "dy": (0.1, 0.8)},
}

# What the numbers of an input are, and which of them are drawn as black and as white.
Scaling = Literal["unit", "inverted", "signed", "standardised"]
SCALINGS: dict[Scaling, tuple[float, float] | None] = {
    "unit": (0.0, 1.0),
    "inverted": (1.0, 0.0),
    "signed": (-1.0, 1.0),
    "standardised": None,
}

_IMAGES_AT_ONCE = 500  # while the mean of all is taken
_DRAWS = 8  # random numbers set aside for each image, two counter blocks of Philox


def parameters(seed: int, class_number: int, indices: Integers) -> dict[str, NDArray[Any]]:
    """The drawn parameters of images `indices` (k,) of a class: name -> (k,) values.

    Image i takes words 8i … 8i+7 of the Philox stream with key (seed, class), so that it depends
    on (seed, class, i) alone. Names are those of PARAMETERS, NaN if the class has none, and
    `lend`, an index into LINE_ENDS (−1 if the class has no line).
    """
    import numpy as np

    count = int(indices.max()) + 1 if len(indices) else 0
    first = int(indices.min()) if len(indices) else 0
    stream = np.random.Philox(key=np.array([seed, class_number], dtype=np.uint64))
    stream.advance(first * _DRAWS // 4)  # a counter block holds four words
    words = stream.random_raw((count - first) * _DRAWS).reshape(-1, _DRAWS)[indices - first]
    uniform = (words >> np.uint64(11)) * 2.0**-53  # as NumPy makes doubles in [0, 1)

    ranges = RANGES[class_number]
    drawn: dict[str, NDArray[Any]] = {}
    for column, name in enumerate(PARAMETERS):
        low, high = ranges.get(name, (math.nan, math.nan))
        drawn[name] = low + (high - low) * uniform[:, column]
    ends = (uniform[:, len(PARAMETERS)] * len(LINE_ENDS)).astype(np.int64)
    drawn["lend"] = ends if "lwd" in ranges else np.full(len(indices), -1)
    return drawn


def training_split(seed: int, images_per_class: int) -> NDArray[np.bool_]:
    """Which of the 6 · images_per_class images are training ones: bool, half of them True.

    Image j is number j mod images_per_class of class 1 + j // images_per_class. The first half of
    one permutation, of PCG64 seeded with (seed, "dice split"), is the training split.
    """
    import numpy as np

    total = len(RANGES) * images_per_class
    purpose = int.from_bytes(hashlib.sha256(b"dice split").digest()[:8], "big")
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose])))
    training = np.zeros(total, dtype=np.bool_)
    training[generator.permutation(total)[: total // 2]] = True
    return training


def parameter_table(dice: Dice) -> pyarrow.Table:
    """The parameters of every image: class (1–6), index, split, x, y, cex, lwd, lend, dx, dy."""
    import numpy as np
    import pyarrow

    indices = np.arange(dice.images_per_class)
    split = np.where(training_split(dice.seed, len(indices)), "train", "test")
    ends = np.array([*LINE_ENDS, None], dtype=object)  # −1, no line, is the last
    tables = []
    for number, part in zip(RANGES, split.reshape(len(RANGES), -1), strict=True):
        drawn = parameters(dice.seed, number, indices)
        columns = {
            "class": np.full(len(indices), number, dtype=np.int8),
            "index": indices,
            "split": part,
            **{name: drawn[name] for name in ("x", "y", "cex", "lwd")},
            "lend": pyarrow.array(ends[drawn["lend"]], type=pyarrow.string()),
            **{name: drawn[name] for name in ("dx", "dy")},
        }
        # NaN: the class has no such parameter
        arrays = [pyarrow.array(values, from_pandas=True) for values in columns.values()]
        tables.append(pyarrow.table(arrays, names=list(columns)))
    return pyarrow.concat_tables(tables)


def write_parameters(dice: Dice, path: Path) -> None:
    """Write `parameter_table` to the parquet file `path`."""
    from pyarrow import parquet

    with replacing(path) as temporary:
        parquet.write_table(parameter_table(dice), temporary)


class Dice(DatasetSettings):
    """Generated images of dice: drawing, scaling and number."""

    name: ClassVar[str] = "dice"
    facts: ClassVar[Facts] = FACTS

    image_size: int = Field(32, description="side of an image in pixels", ge=4, le=1024)
    images_per_class: int = Field(
        20_000,
        description="images of each class; half of all images are for training",
        ge=1,
        le=10_000_000,
    )
    seed: int = Field(0, description="seed of all images", ge=0)
    point: Literal[1, 16, 19, 20] = Field(
        16,
        description="plot character of R's points(): 1 open circle (R's default), 16 disc, 19 "
        "disc with a border, 20 the same at two thirds of the size",
    )
    device: Literal["cairo", "windows"] = Field(
        "cairo",
        description="device of R's png(): cairo (grey levels), or windows (R's default on "
        "Windows: black pixels, lines of at least one pixel)",
    )
    channels: Literal[1, 3] = Field(
        1, description="equal planes; a loader of colour images makes 3 of a grey image"
    )
    scaling: Scaling = Field(
        "unit",
        description="unit: white 1, ink 0; inverted: white 0, ink 1; signed: white 1, ink -1; "
        "standardised: mean 0 and standard deviation 1 over all pixels of all "
        "training images",
    )

    def packages(self) -> Mapping[str, str]:
        return {"cairocffi": "workflow"}

    def input_shape(self) -> tuple[int, ...]:
        """(channels, size, size): grey planes, by rows from top to bottom."""
        return (self.channels, self.image_size, self.image_size)

    def class_names(self) -> tuple[str, ...]:
        return CLASSES

    def size(self, held_out: bool = False) -> int:
        """Half of all images."""
        training = len(CLASSES) * self.images_per_class // 2
        return len(CLASSES) * self.images_per_class - training if held_out else training

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """Either half of the Dice images, in order of class and index; drawn when asked for.

        Source: Lowell & Kastner 2024, section 7.3. Inputs: plane by plane, the image's rows from
        top to bottom, D = channels · image_size².
        """
        import numpy as np

        # Image numbers of the pool's rows
        training = training_split(self.seed, self.images_per_class)
        stored, facts = self._stored(np.flatnonzero(training))
        members = np.flatnonzero(~training if held_out else training)
        planes = "" if self.channels == 1 else f"{self.channels} equal planes of "
        size = f"{self.image_size} x {self.image_size}"

        return Pool(
            labels=members // self.images_per_class,
            inputs=lambda rows: np.tile(stored[self._grey(members[rows])], self.channels),
            scale=1.0 if self.scaling == "standardised" else 1 / 255,
            preprocessing={
                "images": f"{planes}{size}, rows from top to bottom, {facts}",
                "total": len(CLASSES) * self.images_per_class,
                "renderer": f"cairo {cairo_library().cairo_version_string()}",
            },
        )

    def _grey(self, numbers: Integers) -> NDArray[np.uint8]:
        """Grey levels (k, size²) of the images with these numbers, 255 is white."""
        import numpy as np

        images = np.empty((len(numbers), self.image_size**2), dtype=np.uint8)
        classes, indices = np.divmod(numbers, self.images_per_class)
        for label in np.unique(classes):
            chosen = classes == label
            drawn = parameters(self.seed, int(label) + 1, indices[chosen])
            grey = draw(int(label) + 1, drawn, self.image_size, self.point, self.device)
            images[chosen] = grey.reshape(len(grey), -1)
        return images

    def _stored(self, training: Integers) -> tuple[NDArray[Any], str]:
        """What each grey level is stored as, (256,) in a type that holds it exactly; and in words.

        Standardised values are the exception, rounded to float32. Their mean and deviation come
        from whole numbers, the sums over all training images, so that no order of summation
        matters.
        """
        import numpy as np

        levels = np.arange(256)
        match self.scaling:
            case "unit":
                return levels.astype(np.uint8), "white 1, ink 0"
            case "inverted":
                return (255 - levels).astype(np.uint8), "white 0, ink 1"
            case "signed":
                return (2 * levels - 255).astype(np.int16), "white 1, ink -1"
        counts = np.zeros(256, dtype=np.int64)
        for part in np.array_split(training, -(-len(training) // _IMAGES_AT_ONCE)):
            counts += np.bincount(self._grey(part).reshape(-1), minlength=256)
        total, first, second = (int(counts @ levels**power) for power in (0, 1, 2))
        mean, deviation = first / total, math.sqrt(total * second - first**2) / total
        facts = f"minus {mean / 255!r}, the mean, over {deviation / 255!r}, the standard deviation"
        return (
            ((levels - mean) / deviation).astype(np.float32),
            f"{facts} of all pixels of all training images (white 1, ink 0)",
        )
