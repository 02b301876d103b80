"""The six faces of the dice as R's base graphics draw them, equal pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    Raises: UserError if the cairo library is not installed.
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
        cairo = cairo_library()
        self._surface = cairo.ImageSurface(cairo.FORMAT_RGB24, image_size, image_size)
        self._context = cairo.Context(self._surface)
        self._context.set_line_join(cairo.LINE_JOIN_ROUND)
        self._whole, self._stroke_antialias = cairo.ANTIALIAS_NONE, cairo.ANTIALIAS_GRAY
        self._caps = (cairo.LINE_CAP_ROUND, cairo.LINE_CAP_BUTT, cairo.LINE_CAP_SQUARE)
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

    def line(
        self, points: Iterable[tuple[float, float]], lwd: float, lend: int, closed: bool = False
    ) -> None:
        """A line from point to point and, if it is closed, back to the first."""
        self._context.new_path()
        for x, y in points:
            self._context.line_to(*self._place(x, y))
        if closed:
            self._context.close_path()
        self._stroke(lwd, lend)

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
            pen.line(corners, lwd, lend, closed=True)
        case 5:
            pen.line(corners, lwd, lend, closed=True)
            pen.circle(0, 0, cex)
        case 6:
            pen.line(((x + dx, y + dy), (-x + dx, -y + dy)), lwd, lend)
            pen.line(((x - dx, y - dy), (-x - dx, -y - dy)), lwd, lend)
        case _:
            raise ValueError(f"there is no class {class_number}; classes are 1 to 6")


def cairo_library() -> Any:
    """The module cairocffi. Raises: UserError if the cairo library is not installed."""
    try:
        import cairocffi
    except OSError as error:  # cairocffi is installed, the C library it loads is not
        raise UserError(
            "the Dice images are drawn by the cairo library, which is not installed here. Install "
            "it (Debian, Ubuntu: apt-get install libcairo2; macOS: brew install cairo; conda: "
            "conda install cairo) and start again."
        ) from error
    return cairocffi
