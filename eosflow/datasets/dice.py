"""Dice: six classes of generated grey images, drawn as R's base graphics would draw them.

The six drawings and the ranges of their parameters are Table 3 of Lowell & Kastner 2024
(arXiv:2406.00127, section 7.3). R's `png(type = "cairo")` device draws through the cairo library,
and so does this module: with equal parameters the images are equal, pixel by pixel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eosflow.datasets.base import DatasetSettings, Facts, Pictures, Preview
from eosflow.datasets.pool import Pool, Resources
from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing
from eosflow.storage.settings import setting

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

    from eosflow.datasets.pool import Integers

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
LINE_ENDS = ("round", "butt", "square")
PARAMETERS = ("x", "y", "cex", "lwd", "dx", "dy")

# R's sizes at 72 dots per inch and a point size of 12. `lwd = 1` is 1/96 inch. The radius of plot
# character 16 is often given as 0.375 · 12 · cex; R itself (4.2.2, devices of 16 to 480 pixels)
# draws 0.6 of that.
PIXELS_PER_LINE_WIDTH = 72 / 96
PIXELS_PER_CEX = 0.375 * 12 * 0.6
SMALLEST_RADIUS = 0.5  # pixels; R's cairo device draws no smaller disc

_DRAWS = 8  # random numbers set aside for each image, two counter blocks of Philox


def parameters(seed: int, class_number: int, indices: Integers) -> dict[str, NDArray[Any]]:
    """The drawn parameters of images `indices` (k,) of a class: name -> (k,) values.

    Image i takes words 8i … 8i+7 of the Philox stream with key (seed, class), so that it depends
    on (seed, class, i) alone. Names are those of PARAMETERS, NaN where the class has none, and
    `lend`, an index into LINE_ENDS (−1 where the class has no line).
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

    seed, per_class = dice.seed, dice.images_per_class
    indices = np.arange(per_class)
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in (*PARAMETERS, "lend")}
    for class_number in RANGES:
        for name, values in parameters(seed, class_number, indices).items():
            columns[name].append(values)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    ends = np.array([*LINE_ENDS, None], dtype=object)  # −1, no line, is the last
    table: dict[str, Any] = {
        "class": np.repeat(np.array(list(RANGES), dtype=np.int8), per_class),
        "index": np.tile(indices, len(RANGES)),
        "split": np.where(training_split(seed, per_class), "train", "test"),
    }
    for name in ("x", "y", "cex", "lwd", "lend", "dx", "dy"):
        table[name] = (
            pyarrow.array(ends[joined[name]], type=pyarrow.string())
            if name == "lend"
            else pyarrow.array(joined[name], from_pandas=True)  # NaN: no such parameter
        )
    return pyarrow.table(table)


def write_parameters(dice: Dice, path: Path) -> None:
    """Write `parameter_table` to the parquet file `path`."""
    from pyarrow import parquet

    with replacing(path) as temporary:
        parquet.write_table(parameter_table(dice), temporary)


def draw(
    class_number: int, drawn: Mapping[str, Sequence[Any] | NDArray[Any]], image_size: int
) -> NDArray[np.uint8]:
    """Draw k images of one class from their parameters: uint8 (k, size, size), 255 is white.

    The axes run from −1 to 1 over the whole square, y upwards. Points are filled discs without
    antialiasing (so that a small one can fall between pixel centres and vanish), lines are strokes
    in grey levels with round joins.

    Raises: UserError where the cairo library is not installed.
    """
    import numpy as np

    cairo = _cairo()
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, image_size, image_size)
    context = cairo.Context(surface)
    context.set_line_join(cairo.LINE_JOIN_ROUND)
    caps = (cairo.LINE_CAP_ROUND, cairo.LINE_CAP_BUTT, cairo.LINE_CAP_SQUARE)  # as LINE_ENDS
    pixels = np.frombuffer(surface.get_data(), np.uint8).reshape(image_size, -1, 4)[..., 0]
    half = image_size / 2

    def disc(x: float, y: float, cex: float) -> None:
        radius = max(PIXELS_PER_CEX * cex, SMALLEST_RADIUS)
        context.set_antialias(cairo.ANTIALIAS_NONE)
        context.new_path()
        context.arc((1 + x) * half, (1 - y) * half, radius, 0, 2 * math.pi)
        context.fill()

    def line(points: Iterable[tuple[float, float]], lwd: float, lend: int, closed: bool) -> None:
        context.set_antialias(cairo.ANTIALIAS_GRAY)
        context.set_line_width(PIXELS_PER_LINE_WIDTH * lwd)
        context.set_line_cap(caps[lend])
        context.new_path()
        for x, y in points:
            context.line_to((1 + x) * half, (1 - y) * half)
        if closed:
            context.close_path()
        context.stroke()

    columns = [np.asarray(drawn[name]).tolist() for name in (*PARAMETERS, "lend")]
    images = np.empty((len(columns[0]), image_size, image_size), dtype=np.uint8)
    for image, values in zip(images, zip(*columns, strict=True), strict=True):
        context.set_source_rgb(1, 1, 1)
        context.paint()
        context.set_source_rgb(0, 0, 0)
        _symbol(class_number, values, disc, line)
        surface.flush()
        image[:] = pixels
    return images


def _symbol(
    class_number: int,
    values: Sequence[Any],
    disc: Callable[[float, float, float], None],
    line: Callable[[Iterable[tuple[float, float]], float, int, bool], None],
) -> None:
    """Draw the symbol of a class from (x, y, cex, lwd, dx, dy, lend)."""
    x, y, cex, lwd, dx, dy, lend = values
    outline = ((x, y), (x, -y), (-x, -y), (-x, y))
    match class_number:
        case 1:
            disc(x, y, cex)
        case 2:
            disc(x, y, cex)
            disc(-x, -y, cex)
        case 3:
            line(((x, y), (-x, -y)), lwd, lend, False)
        case 4:
            line(outline, lwd, lend, True)
        case 5:
            line(outline, lwd, lend, True)
            disc(0, 0, cex)
        case 6:
            line(((x + dx, y + dy), (-x + dx, -y + dy)), lwd, lend, False)
            line(((x - dx, y - dy), (-x - dx, -y - dy)), lwd, lend, False)
        case _:
            raise ValueError(f"there is no class {class_number}; classes are 1 to 6")


def _cairo() -> Any:
    try:
        import cairocffi
    except OSError as error:  # cairocffi is installed, the C library it loads is not
        raise UserError(
            "the Dice images are drawn by the cairo library, which is not installed here. Install "
            "it (Debian, Ubuntu: apt-get install libcairo2; macOS: brew install cairo; conda: "
            "conda install cairo) and start again."
        ) from error
    return cairocffi


@dataclass(frozen=True)
class Dice(DatasetSettings):
    """Generated pictures of dice: size of an image, how many there are, and the seed of all."""

    name: ClassVar[str] = "dice"
    facts: ClassVar[Facts] = FACTS

    image_size: int = setting(32, about="side of an image in pixels", minimum=4, maximum=1024)
    images_per_class: int = setting(
        20_000,
        about="images generated of each class; half of all are for training",
        minimum=1,
        maximum=10_000_000,
    )
    seed: int = setting(0, about="seed of all images", minimum=0)

    def input_shape(self) -> tuple[int, ...]:
        """(1, size, size): one grey plane, by rows from top to bottom."""
        return (1, self.image_size, self.image_size)

    def class_names(self) -> tuple[str, ...]:
        """The six faces."""
        return CLASSES

    def pool_size(self) -> int:
        """Half of all images."""
        return len(CLASSES) * self.images_per_class // 2

    def preview(self, shape: tuple[int, ...]) -> Preview:
        """Grey pictures."""
        return Pictures((1, self.image_size, self.image_size), (0.0, 1.0))

    def open_pool(self, resources: Resources) -> Pool:
        """The training half of the Dice images, in order of class and index; drawn when asked for.

        Source: Lowell & Kastner 2024, section 7.3. Inputs: the image's rows from top to bottom,
        uint8, D = image_size²; white is 1 at the run and ink is 0.
        """
        import numpy as np

        seed, per_class, image_size = self.seed, self.images_per_class, self.image_size
        # Image numbers of the pool's rows
        members = np.flatnonzero(training_split(seed, per_class))

        def inputs(rows: Integers) -> NDArray[np.uint8]:
            images = np.empty((len(rows), image_size**2), dtype=np.uint8)
            classes, indices = np.divmod(members[rows], per_class)
            for label in np.unique(classes):
                chosen = classes == label
                drawn = parameters(seed, int(label) + 1, indices[chosen])
                images[chosen] = draw(int(label) + 1, drawn, image_size).reshape(-1, image_size**2)
            return images

        return Pool(
            labels=members // per_class,
            inputs=inputs,
            scale=1 / 255,
            preprocessing={
                "images": f"{image_size} x {image_size}, rows from top to bottom, white 1, ink 0",
                "total": len(CLASSES) * per_class,
                "renderer": f"cairo {_cairo().cairo_version_string()}",
            },
        )
