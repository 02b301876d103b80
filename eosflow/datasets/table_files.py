"""The two formats of a table, .npz and .parquet: their headers and their contents."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from eosflow.datasets.list_columns import Uneven, arrays, innermost, of_lists
from eosflow.storage.errors import UserError
from eosflow.storage.foreign import foreign

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPZ_FORM = (
    "an .npz holds `inputs` (n, D) or (n, *shape) and `labels` (n,), whole numbers 0 … C−1 for "
    "classes, or (n,) or (n, C) with decimals for numbers to fit"
)
PARQUET_FORM = (
    "a .parquet has a column `label` (whole numbers 0 … C−1 for classes, or decimals for a number "
    "to fit), or `label_1` to `label_C` for several numbers, and its other columns are the inputs, "
    "numbers or lists of one length"
)
# What a file may unpack to. Both are far more than a run by full batches can use, and they stop a
# small file that unpacks to more than the memory.
MOST_ROWS = 50_000_000
MOST_BYTES = 16 * 2**30
COUNTED = "biu"  # NumPy's letters for whole numbers: classes where they are labels
MEASURED = "f"  # and for decimals: numbers to fit


def unfit(path: Path, found: str, remedy: str) -> UserError:
    """A refusal: the file, what was found in it, what is allowed and what to do."""
    form = PARQUET_FORM if path.suffix == ".parquet" else NPZ_FORM
    return UserError(f"{path}: {found}. Allowed: {form}. {remedy}")


def _check_size(path: Path, rows: int, size: int) -> None:
    """Refuse a file by the rows and bytes that its headers promise, before they are read."""
    if rows > MOST_ROWS or size > MOST_BYTES:
        raise unfit(
            path,
            f"it unpacks to {rows} rows and {size} bytes, more than the {MOST_ROWS} rows or "
            f"{MOST_BYTES} bytes allowed",
            "Keep the rows that you want to train on.",
        )


@dataclass(frozen=True)
class Form:
    """What a file says of its arrays before they are read; `kind` is NumPy's letter of a type."""

    inputs: tuple[int, ...]
    inputs_kind: str
    labels: tuple[int, ...]
    labels_kind: str


class File(Protocol):
    """A file of one of the two formats, open for reading."""

    def form(self) -> Form:
        """From its headers alone."""
        ...

    def labels(self) -> NDArray[Any]:
        """All labels, as stored."""
        ...

    def inputs(self) -> NDArray[Any]:
        """All inputs, as stored."""
        ...

    def remarks(self) -> dict[str, Any]:
        """What the subset's record should say of how the file was read."""
        ...


class _Npz:
    """An .npz file. Nothing in it is ever unpickled."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        found = sorted(name.removesuffix(".npy") for name in archive.namelist())
        if missing := [name for name in ("inputs", "labels") if name not in found]:
            raise unfit(
                path,
                f"it has no array {' and '.join(missing)}, but {', '.join(found) or 'nothing'}",
                "Save it with numpy.savez(path, inputs=…, labels=…).",
            )

    def _header(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of an array, after refusing one that is too large or not whole."""
        from numpy.lib import format as npy

        with self._archive.open(f"{name}.npy") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
        if dtype.hasobject:
            raise unfit(
                self.path,
                f"`{name}` holds Python objects, which can only be unpickled; that may run any "
                "program and is never done",
                f"Save it as plain numbers, such as numpy.array({name}, dtype=float).",
            )
        if any(length < 0 for length in shape):
            raise ValueError(f"{name} has the shape {shape}")
        size = math.prod(shape) * dtype.itemsize
        _check_size(self.path, shape[0] if shape else 1, size)
        if self._archive.getinfo(f"{name}.npy").file_size < size:
            raise ValueError(f"{name} promises {size} bytes and has fewer")
        return shape, dtype.kind

    def form(self) -> Form:
        """From its headers alone."""
        return Form(*self._header("inputs"), *self._header("labels"))

    def _read(self, name: str) -> NDArray[Any]:
        from numpy.lib import format as npy

        self._header(name)
        with self._archive.open(f"{name}.npy") as file:
            values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return values

    def labels(self) -> NDArray[Any]:
        """All labels, as stored."""
        return self._read("labels")

    def inputs(self) -> NDArray[Any]:
        """All inputs, as stored."""
        return self._read("inputs")

    def remarks(self) -> dict[str, Any]:
        """Nothing beyond the arrays' names."""
        return {"arrays": "inputs, labels"}


class _Parquet:
    """A .parquet file: label columns by their names, every other column of numbers an input."""

    def __init__(self, path: Path, file: Any) -> None:
        import pyarrow.types as kinds

        self.path, self._file = path, file
        schema = file.schema_arrow
        footer = file.metadata
        if sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups)) != (
            footer.num_rows
        ):
            raise ValueError("its row groups have not the rows that it promises")
        _check_size(path, footer.num_rows, footer.num_rows * len(schema.names) * 8)
        if doubled := sorted({name for name in schema.names if schema.names.count(name) > 1}):
            raise unfit(path, f"it has two columns {doubled[0]}", "Give each its own name.")
        numbered = [name for name in schema.names if name.startswith("label_")]
        self._labels = ["label"] if "label" in schema.names else []
        if self._labels and numbered:
            raise unfit(path, f"it has a column label and {numbered[0]} too", "Keep one kind.")
        if numbered:
            self._labels = [f"label_{place}" for place in range(1, len(numbered) + 1)]
            if wrong := sorted(set(numbered) - set(self._labels)):
                raise unfit(
                    path,
                    f"it has {len(numbered)} columns label_…, among them {wrong[0]}",
                    f"Number them from label_1 to label_{len(numbered)}.",
                )
        if not self._labels:
            raise unfit(
                path,
                f"it has no column label, but {', '.join(schema.names[:10]) or 'none at all'}",
                "Rename the column that holds the labels.",
            )
        numeric = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal)
        self._inputs, self._left_out = [], []
        for field in schema:
            # pandas stores the index of a frame under such a name, and a row's number is no input
            index = field.name.startswith("__index_level_")
            if field.name in self._labels:
                continue
            if not index and any(test(innermost(field.type)) for test in numeric):
                self._inputs.append(field.name)
            else:
                self._left_out.append(field.name)
        kind_of = {"label": schema.field(self._labels[0]).type}
        if not any(test(kind_of["label"]) for test in numeric):
            raise unfit(
                path,
                f"column {self._labels[0]} is {kind_of['label']}",
                "Store the number of each class, and name the classes in `classes`.",
            )
        counted = kinds.is_integer(kind_of["label"]) or kinds.is_boolean(kind_of["label"])
        self._classes = not numbered and counted
        if not self._inputs:
            raise unfit(path, "it has no column of numbers beside the labels", "Add the inputs.")

    def form(self) -> Form:
        """From its headers alone."""
        rows, shape = self._file.metadata.num_rows, self._shape()
        _check_size(self.path, rows, rows * math.prod(shape) * 8)
        several = self._labels != ["label"]
        labels = (rows, len(self._labels)) if several else (rows,)
        return Form((rows, *shape), "f", labels, "i" if self._classes else "f")

    def _shape(self) -> tuple[int, ...]:
        """That of a row of inputs: of the lists of a single column, else all values in a line."""
        import pyarrow

        schema = self._file.schema_arrow
        sizes = dict.fromkeys(self._inputs, 1)
        for name in self._inputs:
            if of_lists(schema.field(name).type):
                for batch in self._file.iter_batches(batch_size=1, columns=[name]):
                    _, *shape = arrays(pyarrow.Table.from_batches([batch]).column(name)).shape
                    if len(self._inputs) == 1:
                        return tuple(shape)
                    sizes[name] = math.prod(shape)
                    break
        return (sum(sizes.values()),)

    def _column(self, table: Any, name: str) -> NDArray[Any]:
        try:
            return arrays(table.column(name))
        except Uneven as error:
            raise unfit(
                self.path, f"column {name} {error}", "Fill or pad them, or leave those rows out."
            ) from None

    def labels(self) -> NDArray[Any]:
        """All labels, as stored; those in several columns as decimals."""
        import numpy as np

        table = self._file.read(columns=self._labels)
        columns = [self._column(table, name) for name in self._labels]
        if self._labels == ["label"]:
            return columns[0]
        return np.stack([column.astype(np.float64) for column in columns], axis=1)

    def inputs(self) -> NDArray[Any]:
        """All inputs, in the order of the columns, in the smallest type that holds them all."""
        import numpy as np

        table = self._file.read(columns=self._inputs)
        columns = [self._column(table, name) for name in self._inputs]
        joined = np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)
        return joined.reshape(len(joined), *self._shape())

    def remarks(self) -> dict[str, Any]:
        """Which columns were read, and which could not be."""
        return {
            "labels": self._labels,
            "inputs": f"{len(self._inputs)} columns, {self._inputs[0]} to {self._inputs[-1]}",
            "left_out": self._left_out,
        }


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """The file, after refusing what is none. Raises: UserError."""
    if path.suffix not in (".npz", ".parquet"):
        raise UserError(
            f"{path}: the name of a table's file ends in .npz or .parquet, this one in "
            f"{path.suffix or 'neither'}. Save the data in one of these formats."
        )
    if not os.path.isfile(path):  # noqa: PTH113  (this never raises)
        raise UserError(
            f"{path}: there is no such file (looked for at {path.absolute()}). Put it there, or "
            "set `path` of the dataset to where it is."
        )
    if path.stat().st_size == 0:
        raise unfit(path, "the file is empty", "Save it again.")
    with foreign(lambda why: _no_file(path, why)):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield _Npz(path, archive)
        else:
            from pyarrow import parquet

            with parquet.ParquetFile(path) as file:
                yield _Parquet(path, file)


def _no_file(path: Path, reason: str) -> UserError:
    name = path.suffix.removeprefix(".")
    return unfit(path, f"it is no {name} file, or damaged ({reason})", "Save it again.")
