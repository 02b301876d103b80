"""The two formats of a table, .npz and .parquet: their headers and their contents."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def unfit(path: Path, what: str, remedy: str) -> UserError:
    """A refusal: the file, what was found in it, what is allowed and what to do."""
    form = PARQUET_FORM if path.suffix == ".parquet" else NPZ_FORM
    return UserError(f"{path}: {what}. Allowed: {form}. {remedy}")


@dataclass(frozen=True)
class Form:
    """Shapes of the arrays and NumPy's letters of their types, known before they are read."""

    inputs: tuple[int, ...]
    inputs_kind: str
    labels: tuple[int, ...]
    labels_kind: str


@dataclass(frozen=True)
class TableFile:
    """An open file: its form, what reads inputs and labels, and how, for the subset's record."""

    form: Form
    inputs: Callable[[], NDArray[Any]]
    labels: Callable[[], NDArray[Any]]
    remarks: dict[str, Any]


@contextmanager
def opened(path: Path) -> Iterator[TableFile]:
    """The file, open for reading. Raises: UserError if it is none of the two formats."""
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

    def damaged(reason: str) -> UserError:
        kind = path.suffix.removeprefix(".")
        return unfit(path, f"it is no {kind} file, or damaged ({reason})", "Save it again.")

    with foreign(damaged):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield _npz(path, archive)
        else:
            from pyarrow import parquet

            with parquet.ParquetFile(path) as file:
                yield _parquet(path, file)


def _check_size(path: Path, rows: int, size: int) -> None:
    """Refuse a file by the rows and bytes that its headers promise, before they are read."""
    if rows > MOST_ROWS or size > MOST_BYTES:
        raise unfit(
            path,
            f"it unpacks to {rows} rows and {size} bytes, more than the {MOST_ROWS} rows or "
            f"{MOST_BYTES} bytes allowed",
            "Keep the rows that you want to train on.",
        )


def _npz(path: Path, archive: zipfile.ZipFile) -> TableFile:
    """The arrays `inputs` and `labels`. Nothing is ever unpickled."""
    from numpy.lib import format as npy

    names = sorted(name.removesuffix(".npy") for name in archive.namelist())
    if missing := [name for name in ("inputs", "labels") if name not in names]:
        raise unfit(
            path,
            f"it has no array {' and '.join(missing)}, but {', '.join(names) or 'nothing'}",
            "Save it with numpy.savez(path, inputs=…, labels=…).",
        )

    def header(name: str) -> tuple[tuple[int, ...], str]:
        with archive.open(f"{name}.npy") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
        if dtype.hasobject:
            raise unfit(
                path,
                f"`{name}` holds Python objects, which can only be unpickled; that may run any "
                "program and is never done",
                f"Save it as plain numbers, such as numpy.array({name}, dtype=float).",
            )
        size = math.prod(shape) * dtype.itemsize
        _check_size(path, shape[0] if shape else 1, size)
        if size < 0 or archive.getinfo(f"{name}.npy").file_size < size:
            raise ValueError(f"{name} should have {size} bytes and has fewer")
        return shape, dtype.kind

    def read(name: str) -> NDArray[Any]:
        with archive.open(f"{name}.npy") as file:
            values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return values

    return TableFile(
        Form(*header("inputs"), *header("labels")),
        lambda: read("inputs"),
        lambda: read("labels"),
        {"arrays": "inputs, labels"},
    )


def _parquet(path: Path, file: Any) -> TableFile:
    """Label columns by their names; every other column of numbers is an input."""
    import numpy as np
    import pyarrow.types as kinds

    schema, footer = file.schema_arrow, file.metadata
    groups = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    if sum(groups) != footer.num_rows:
        raise ValueError("its row groups do not have the rows that its header states")
    _check_size(path, footer.num_rows, footer.num_rows * len(schema.names) * 8)
    if doubled := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise unfit(path, f"it has two columns {doubled[0]}", "Give each its own name.")
    targets = _label_columns(path, schema.names)
    numeric = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal)
    of_numbers = {f.name for f in schema if any(test(innermost(f.type)) for test in numeric)}
    kind = schema.field(targets[0]).type
    if targets[0] not in of_numbers or of_lists(kind):
        raise unfit(
            path,
            f"column {targets[0]} is {kind}",
            "Store the number of each class, and name the classes in `classes`.",
        )
    # pandas stores the index of a frame under such a name, and a row's number is no input.
    index = "__index_level_"
    inputs = [
        name
        for name in schema.names
        if name in of_numbers and name not in targets and not name.startswith(index)
    ]
    if not inputs:
        raise unfit(path, "it has no column of numbers beside the labels", "Add the inputs.")

    rows, shape = footer.num_rows, _row_shape(file, inputs)
    _check_size(path, rows, rows * math.prod(shape) * 8)

    def read(names: list[str]) -> NDArray[Any]:
        """(n, values), in the smallest type that holds them all."""
        table, columns = file.read(columns=names), []
        for name in names:
            try:
                columns.append(arrays(table.column(name)).reshape(len(table), -1))
            except Uneven as error:
                remedy = "Fill or pad them, or leave those rows out."
                raise unfit(path, f"column {name} {error}", remedy) from None
        return np.concatenate(columns, axis=1)

    alone = targets == ["label"]
    classes = alone and (kinds.is_integer(kind) or kinds.is_boolean(kind))
    labels = (rows,) if alone else (rows, len(targets))
    return TableFile(
        Form((rows, *shape), "f", labels, "i" if classes else "f"),
        lambda: read(inputs).reshape(rows, *shape),
        lambda: read(targets)[:, 0] if alone else read(targets).astype(np.float64),
        {
            "labels": targets,
            "inputs": f"{len(inputs)} columns, {inputs[0]} to {inputs[-1]}",
            "left_out": [name for name in schema.names if name not in (*targets, *inputs)],
        },
    )


def _row_shape(file: Any, inputs: list[str]) -> tuple[int, ...]:
    """The shape of a row of inputs: of the lists of a single column, else all values in a line."""
    import pyarrow

    sizes = dict.fromkeys(inputs, 1)
    for name in inputs:
        if of_lists(file.schema_arrow.field(name).type):
            for batch in file.iter_batches(batch_size=1, columns=[name]):
                _, *shape = arrays(pyarrow.Table.from_batches([batch]).column(name)).shape
                if len(inputs) == 1:
                    return tuple(shape)
                sizes[name] = math.prod(shape)
                break
    return (sum(sizes.values()),)


def _label_columns(path: Path, names: list[str]) -> list[str]:
    """`label`, or `label_1` to `label_C`."""
    numbered = [name for name in names if name.startswith("label_")]
    expected = [f"label_{number}" for number in range(1, len(numbered) + 1)]
    if "label" in names:
        if numbered:
            raise unfit(path, f"it has a column label and {numbered[0]} too", "Keep one kind.")
        return ["label"]
    if not numbered:
        raise unfit(
            path,
            f"it has no column label, but {', '.join(names[:10]) or 'none at all'}",
            "Rename the column that holds the labels.",
        )
    if wrong := sorted(set(numbered) - set(expected)):
        raise unfit(
            path,
            f"it has {len(numbered)} columns label_…, among them {wrong[0]}",
            f"Number them from label_1 to {expected[-1]}.",
        )
    return expected
