"""A column of a table: its name, and what its numbers mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# Endings that stand for a number in the real name: a layer, an eigenvalue, a loss.
INDEX = re.compile(r"_[lmX]$")


@dataclass(frozen=True)
class Column:
    """One column, with symbol, equation and unit; – is for none.

    A name in `_l`, `_m` or `_X` stands for one column for each of `each`, if those are known.
    `dtype` is the NumPy type of its numbers; `given` is false where the settings leave it out.
    """

    name: str
    symbol: str
    equation: str
    unit: str
    dtype: str = field(default="float64", compare=False)
    each: tuple[str, ...] = field(default=(), compare=False)
    given: bool = field(default=True, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the real columns, as far as they are known."""
        stem, indexed = INDEX.subn("", self.name)
        names = tuple(f"{stem}_{which}" for which in self.each) if indexed else (self.name,)
        return names if self.given else ()

    def is_called(self, given: str) -> bool:
        """Whether a real column's name is this one, such as `alignment_2` for `alignment_l`."""
        if given == self.name:
            return True
        stem, indexed = INDEX.subn("", self.name)
        return bool(indexed and re.fullmatch(rf"{re.escape(stem)}_\d+(\.\d+)?", given))


Columns = tuple[Column, ...]


def count(name: str, equation: str, unit: str) -> Column:
    """A column of whole numbers that has no symbol."""
    return Column(name, "–", equation, unit, "int64")


def flag(name: str, equation: str) -> Column:
    """A column of true and false."""
    return Column(name, "–", equation, "true or false", "bool")


def curvature(name: str, symbol: str, equation: str, each: tuple[str, ...] = ()) -> Column:
    """A column of second derivatives of the loss."""
    return Column(name, symbol, equation, "loss / parameter²", each=each)


def relative(name: str, equation: str, each: tuple[str, ...] = ()) -> Column:
    """A column of numbers without unit and symbol, such as residuals."""
    return Column(name, "–", equation, "–", each=each)


def counted(count: int) -> tuple[str, ...]:
    """`1`, `2`, … for `Column.each`."""
    return tuple(map(str, range(1, count + 1)))


def types_of(columns: Iterable[Column]) -> dict[str, str]:
    """The NumPy type of each real column, by its name."""
    return {name: column.dtype for column in columns for name in column.names}
