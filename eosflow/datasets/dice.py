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
# characters 1, 16 and 19 is often given as 0.375 · 12 · cex; R itself (4.2.2, devices of 16 to 480
# pixels) draws 0.6 of that.
PIXELS_PER_LINE_WIDTH = 72 / 96
PIXELS_PER_CEX = 0.375 * 12 * 0.6
SMALLEST_RADIUS = 0.5  # pixels; R's cairo device draws no smaller circle


@dataclass(frozen=True)
class PlotCharacter:
    """How R draws a point: its radius in pixels at cex 1, and whether it has ink and a border."""

    radius: float
    filled: bool
    bordered: bool  # by a line of lwd 1, whatever the other lines of the image have


# R's `pch`. `points()` draws 1, an open circle, unless told otherwise.
POINTS = {
    1: PlotCharacter(PIXELS_PER_CEX, filled=False, bordered=True),
    16: PlotCharacter(PIXELS_PER_CEX, filled=True, bordered=False),
    19: PlotCharacter(PIXELS_PER_CEX, filled=True, bordered=True),
    20: PlotCharacter(PIXELS_PER_CEX * 2 / 3, filled=True, bordered=True),
}

# What the numbers of an input are, and which of them a contact sheet draws as black and as white.
SCALINGS: dict[str, tuple[float, float] | None] = {
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
    class_number: int,
    drawn: Mapping[str, Sequence[Any] | NDArray[Any]],
    image_size: int,
    point: int = 16,
    device: str = "cairo",
) -> NDArray[np.uint8]:
    """Draw k images of one class from their parameters: uint8 (k, size, size), 255 is white.

    The axes run from −1 to 1 over the whole square, y upwards. `point` is one of POINTS, `device`
    one of DEVICES.

    Raises: UserError where the cairo library is not installed.
    """
    import numpy as np

    pen = DEVICES[device](image_size, POINTS[point])
    columns = [np.asarray(drawn[name]).tolist() for name in (*PARAMETERS, "lend")]
    images = np.empty((len(columns[0]), image_size, image_size), dtype=np.uint8)
    for image, values in zip(images, zip(*columns, strict=True), strict=True):
        pen.clear()
        _symbol(class_number, values, pen)
        image[:] = pen.pixels()
    return images


class _Pen:
    """R's `png(type = "cairo")`, the default on Linux: strokes in grey levels with round joins.

    Discs are not antialiased, so that a small one without a border can fall between pixel centres
    and vanish.
    """

    def __init__(self, image_size: int, character: PlotCharacter) -> None:
        cairo = _cairo()
        self._surface = cairo.ImageSurface(cairo.FORMAT_RGB24, image_size, image_size)
        self._context = cairo.Context(self._surface)
        self._context.set_line_join(cairo.LINE_JOIN_ROUND)
        self._whole, self._stroke_antialias = cairo.ANTIALIAS_NONE, cairo.ANTIALIAS_GRAY
        caps = (cairo.LINE_CAP_ROUND, cairo.LINE_CAP_BUTT, cairo.LINE_CAP_SQUARE)
        self._caps = caps  # as LINE_ENDS
        self._size, self._half, self._character = image_size, image_size / 2, character

    def clear(self) -> None:
        """Make all pixels white."""
        self._context.set_source_rgb(1, 1, 1)
        self._context.paint()
        self._context.set_source_rgb(0, 0, 0)

    def pixels(self) -> NDArray[np.uint8]:
        """The grey levels (size, size), good until the next stroke."""
        import numpy as np

        self._surface.flush()
        return np.frombuffer(self._surface.get_data(), np.uint8).reshape(self._size, -1, 4)[..., 0]

    def circle(self, x: float, y: float, cex: float) -> None:
        """A point."""
        centre, disc, border = self._round(x, y, self._character.radius * cex)
        if self._character.filled:
            self._context.new_path()
            self._context.arc(*centre, disc, 0, 2 * math.pi)
            self._context.set_antialias(self._whole)
            self._context.fill()
        if self._character.bordered:
            self._context.new_path()
            self._context.arc(*centre, border, 0, 2 * math.pi)
            self._stroke(1, 0)

    def line(self, points: Iterable[tuple[float, float]], lwd: float, lend: int) -> None:
        """A line from point to point."""
        self._path(points)
        self._stroke(lwd, lend)

    def outline(self, points: Iterable[tuple[float, float]], lwd: float, lend: int) -> None:
        """A line from point to point and back to the first."""
        self._path(points)
        self._context.close_path()
        self._stroke(lwd, lend)

    def _path(self, points: Iterable[tuple[float, float]]) -> None:
        self._context.new_path()
        for x, y in points:
            self._context.line_to(*self._place(x, y))

    def _stroke(self, lwd: float, lend: int) -> None:
        self._context.set_antialias(self._stroke_antialias)
        self._context.set_line_width(self._width(PIXELS_PER_LINE_WIDTH * lwd))
        self._context.set_line_cap(self._caps[lend])
        self._context.stroke()

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """In pixels from the upper left corner."""
        return (1 + x) * self._half, (1 - y) * self._half

    def _width(self, pixels: float) -> float:
        return pixels

    def _round(self, x: float, y: float, radius: float) -> tuple[tuple[float, float], float, float]:
        """The centre of a point, the radius of its disc and that of its border."""
        radius = max(radius, SMALLEST_RADIUS)
        return self._place(x, y), radius, radius


class _WholePixels(_Pen):
    """R's `png()` on Windows, by the rules in its source: black or white, nothing in between.

    Places and line widths are cut to whole pixels. No line is thinner than one pixel and no point
    smaller than two. What Windows then paints is taken to be every pixel whose centre is covered.
    """

    def __init__(self, image_size: int, character: PlotCharacter) -> None:
        super().__init__(image_size, character)
        self._stroke_antialias = self._whole

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """The centre of the pixel that it falls in."""
        across, down = super()._place(x, y)
        return int(across) + 0.5, int(down) + 0.5

    def _width(self, pixels: float) -> float:
        return max(1, int(pixels))

    def _round(self, x: float, y: float, radius: float) -> tuple[tuple[float, float], float, float]:
        across, down = super()._place(x, y)
        diameter = max(2, int(2 * radius + 0.5))
        corner = diameter // 2 - diameter / 2  # from the pixel to the middle of the square around
        centre = int(across) - corner, int(down) - corner
        return centre, diameter / 2, (diameter - 1) / 2


DEVICES: dict[str, type[_Pen]] = {"cairo": _Pen, "windows": _WholePixels}


def _symbol(class_number: int, values: Sequence[Any], pen: _Pen) -> None:
    """Draw the symbol of a class from (x, y, cex, lwd, dx, dy, lend)."""
    x, y, cex, lwd, dx, dy, lend = values
    corners = ((x, y), (x, -y), (-x, -y), (-x, y))
    match class_number:
        case 1:
            pen.circle(x, y, cex)
        case 2:
            pen.circle(x, y, cex)
            pen.circle(-x, -y, cex)
        case 3:
            pen.line(((x, y), (-x, -y)), lwd, lend)
        case 4:
            pen.outline(corners, lwd, lend)
        case 5:
            pen.outline(corners, lwd, lend)
            pen.circle(0, 0, cex)
        case 6:
            pen.line(((x + dx, y + dy), (-x + dx, -y + dy)), lwd, lend)
            pen.line(((x - dx, y - dy), (-x - dx, -y - dy)), lwd, lend)
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
    """Generated pictures of dice: how they are drawn, as what numbers, and how many there are."""

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
    point: int = setting(
        16,
        about="plot character of R's points(), which draws 1 unless told otherwise: 1 open circle, "
        "16 disc, 19 disc with a border, 20 the same at two thirds",
        enum=list(POINTS),
    )
    device: str = setting(
        "cairo",
        about="how R's png() paints: cairo, in grey levels, or windows, R's default there, whole "
        "pixels black and no line thinner than one",
        enum=list(DEVICES),
    )
    channels: int = setting(
        1, about="equal planes; 3 is what a loader of colour images makes of grey ones", enum=[1, 3]
    )
    scaling: str = setting(
        "unit",
        about="unit: white 1, ink 0; inverted: white 0, ink 1; signed: white 1, ink -1; "
        "standardised: mean 0 and deviation 1 over all pixels of all training images",
        enum=list(SCALINGS),
    )

    def input_shape(self) -> tuple[int, ...]:
        """(channels, size, size): grey planes, by rows from top to bottom."""
        return (self.channels, self.image_size, self.image_size)

    def class_names(self) -> tuple[str, ...]:
        """The six faces."""
        return CLASSES

    def pool_size(self) -> int:
        """Half of all images."""
        return len(CLASSES) * self.images_per_class // 2

    def preview(self, shape: tuple[int, ...]) -> Preview:
        """Pictures on white paper, whatever its number is."""
        return Pictures((self.channels, self.image_size, self.image_size), SCALINGS[self.scaling])

    def open_pool(self, resources: Resources) -> Pool:
        """The training half of the Dice images, in order of class and index; drawn when asked for.

        Source: Lowell & Kastner 2024, section 7.3. Inputs: plane by plane, the image's rows from
        top to bottom, D = channels · image_size².
        """
        import numpy as np

        # Image numbers of the pool's rows
        members = np.flatnonzero(training_split(self.seed, self.images_per_class))
        values, facts = _scaled(self.scaling, self._grey, members)
        planes = "" if self.channels == 1 else f"{self.channels} equal planes of "
        size = f"{self.image_size} x {self.image_size}"

        return Pool(
            labels=members // self.images_per_class,
            inputs=lambda rows: np.tile(values(self._grey(members[rows])), self.channels),
            scale=1.0 if self.scaling == "standardised" else 1 / 255,
            preprocessing={
                "images": f"{planes}{size}, rows from top to bottom, {facts}",
                "total": len(CLASSES) * self.images_per_class,
                "renderer": f"cairo {_cairo().cairo_version_string()}",
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


def _scaled(
    scaling: str, grey: Callable[[Integers], NDArray[np.uint8]], members: Integers
) -> tuple[Callable[[NDArray[np.uint8]], NDArray[Any]], str]:
    """Grey levels to stored values, in a type that holds them exactly; and this in words.

    Standardised values are the exception, rounded to float32. Their mean and deviation come from
    whole numbers, the sums over all members, so that no order of summation matters.
    """
    import numpy as np

    match scaling:
        case "unit":
            return (lambda levels: levels), "white 1, ink 0"
        case "inverted":
            return (lambda levels: 255 - levels), "white 0, ink 1"
        case "signed":
            return (lambda levels: 2 * levels.astype(np.int16) - 255), "white 1, ink -1"
    mean, deviation = _mean_and_deviation(grey, members)
    facts = f"minus {mean / 255!r}, the mean, over {deviation / 255!r}, the standard deviation"

    def standardised(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return ((levels - mean) / deviation).astype(np.float32)

    return standardised, f"{facts} of all pixels of all training images (white 1, ink 0)"


def _mean_and_deviation(
    grey: Callable[[Integers], NDArray[np.uint8]], members: Integers
) -> tuple[float, float]:
    """Over all pixels of the members' images, in grey levels."""
    import numpy as np

    levels = np.zeros(256, dtype=np.int64)
    for part in np.array_split(members, -(-len(members) // _IMAGES_AT_ONCE)):
        levels += np.bincount(grey(part).reshape(-1), minlength=256)
    counts, total = levels.tolist(), int(levels.sum())
    first = sum(level * count for level, count in enumerate(counts))
    second = sum(level**2 * count for level, count in enumerate(counts))
    return first / total, math.sqrt(total * second - first**2) / total
