"""The two formats of a table, .npz and .parquet; its inputs may be large and are read last."""

from __future__ import annotations

import functools
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eosflow.storage.errors import UserError
from eosflow.storage.foreign import foreign

if TYPE_CHECKING:
    import numpy as np
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
PANDAS_INDEX = "__index_level_"  # how pandas names a frame's index; a row's number is no input


def unfit(path: Path, what: str, remedy: str) -> UserError:
    """A refusal: the file, what was found in it, what is allowed and what to do."""
    form = PARQUET_FORM if path.suffix == ".parquet" else NPZ_FORM
    return UserError(f"{path}: {what}. Allowed: {form}. {remedy}")


@dataclass(frozen=True)
class TableFile:
    """What is known of a file before its inputs are read.

    shape: of the inputs, (n, *shape). labels: (n,) or (n, C); they are `classes` many classes, or
    numbers to fit if that is None. remarks: how it was read, for the subset's record.
    """

    shape: tuple[int, ...]
    labels: NDArray[Any]
    classes: int | None
    remarks: dict[str, Any]


def survey(path: Path) -> TableFile:
    """What a file holds; read once for each state of it. Raises: UserError if it is unfit."""
    if path.suffix not in _SURVEYS:
        raise UserError(
            f"{path}: the name of a table's file ends in .npz or .parquet, this one in "
            f"{path.suffix or 'neither'}. Save the data in one of these formats."
        )
    if not os.path.isfile(path):  # noqa: PTH113  (this never raises)
        raise UserError(
            f"{path}: there is no such file (looked for at {path.absolute()}). Put it there, or "
            "set `path` of the dataset to where it is."
        )
    stat = path.stat()
    return _surveyed(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _surveyed(path: Path, *_: int) -> TableFile:
    with foreign(lambda why: _damaged(path, why)):
        shape, labels, remarks = _SURVEYS[path.suffix](path)
    counted = labels.dtype.kind in "biu"
    if len(shape) < 2:
        remedy = "A row must be a list of values: use inputs.reshape(n, -1)."
    elif not labels.ndim or shape[0] != len(labels):
        remedy = "Each row needs its label."
    elif math.prod(shape) == 0 or labels.size == 0:
        remedy = "It holds no values: save at least one row."
    elif labels.ndim > (1 if counted else 2):
        remedy = "Classes are one whole number per row; for numbers use labels.astype(float)."
    else:
        return TableFile(shape, labels, _class_count(path, labels) if counted else None, remarks)
    raise unfit(path, f"`inputs` has the shape {shape}, `labels` {labels.shape}", remedy)


def read_inputs(path: Path) -> NDArray[Any]:
    """The inputs of a file that `survey` found fit: (n, D), the last axis fastest."""
    with foreign(lambda why: _damaged(path, why)):
        values = _npz_array(path, "inputs") if path.suffix == ".npz" else _parquet_inputs(path)
        return values.reshape(len(values), -1)


def _damaged(path: Path, reason: str) -> UserError:
    kind = path.suffix.removeprefix(".")
    return unfit(path, f"it is no {kind} file, or damaged ({reason})", "Save it again.")


def _class_count(path: Path, labels: NDArray[Any]) -> int:
    import numpy as np

    known = np.unique(labels).tolist()
    if len(known) > 1 and known == list(range(len(known))):
        return len(known)
    shown = ", ".join(str(int(label)) for label in known[:8]) + (", …" if len(known) > 8 else "")
    raise unfit(
        path,
        f"the labels are {shown}",
        "Number two classes or more 0 … C−1, such as numpy.unique(labels, return_inverse=True)[1]; "
        "if they are numbers to fit, use labels.astype(float).",
    )


# --- .npz ---------------------------------------------------------------------------------------


def _survey_npz(path: Path) -> tuple[tuple[int, ...], NDArray[Any], dict[str, Any]]:
    """Shape of `inputs` by its header alone, `labels`, and remarks."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name.removesuffix(".npy") for name in archive.namelist())
        if missing := [name for name in ("inputs", "labels") if name not in names]:
            raise unfit(
                path,
                f"it has no array {' and '.join(missing)}, but {', '.join(names) or 'nothing'}",
                "Save it with numpy.savez(path, inputs=…, labels=…).",
            )
        shapes = {}
        for name in ("inputs", "labels"):
            shapes[name], dtype = _npz_header(archive, name)
            if dtype.kind not in "biuf":
                raise unfit(
                    path,
                    f"`{name}` is of type {dtype}",
                    f"Store real numbers, such as numpy.array({name}, dtype=float).",
                )
            size = math.prod(shapes[name]) * dtype.itemsize
            if not 0 <= size <= archive.getinfo(f"{name}.npy").file_size:
                raise ValueError(f"{name} should have {size} bytes and has fewer")
    return shapes["inputs"], _npz_array(path, "labels"), {"arrays": "inputs, labels"}


def _npz_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    from numpy.lib import format as npy

    with archive.open(f"{name}.npy") as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _npz_array(path: Path, name: str) -> NDArray[Any]:
    """One array. Nothing is ever unpickled."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        values: NDArray[Any] = arrays[name]
    return values


# --- .parquet -----------------------------------------------------------------------------------


def _survey_parquet(path: Path) -> tuple[tuple[int, ...], NDArray[Any], dict[str, Any]]:
    """Shape of the inputs by the first row of its lists, labels, and remarks."""
    import numpy as np
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise unfit(path, f"it has two columns {doubled[0]}", "Give each its own name.")
        targets, inputs = _columns(path, file.schema_arrow)
        table = file.read(columns=targets)
        labels = np.stack([_array(path, name, table.column(name)) for name in targets], axis=1)
        lists = [name for name in inputs if _is_list(file.schema_arrow.field(name).type)]
        shapes = [()] * (len(inputs) - len(lists))
        for first in file.iter_batches(1, columns=lists) if lists else ():
            shapes += [_array(path, name, first.column(name)).shape[1:] for name in lists]
            break
    shape = shapes[0] if len(inputs) == len(lists) == 1 else (sum(map(math.prod, shapes)),)
    remarks = {
        "labels": targets,
        "inputs": f"{len(inputs)} columns, {inputs[0]} to {inputs[-1]}",
        "left_out": [name for name in names if name not in (*targets, *inputs)],
    }
    alone = targets == ["label"]
    return (len(labels), *shape), labels[:, 0] if alone else labels.astype(np.float64), remarks


def _columns(path: Path, schema: Any) -> tuple[list[str], list[str]]:
    """The columns of labels; and, as inputs, every other column of numbers."""
    numbered = [name for name in schema.names if name.startswith("label_")]
    expected = [f"label_{number}" for number in range(1, len(numbered) + 1)]
    if ("label" in schema.names) == bool(numbered) or not set(numbered) <= set(expected):
        raise unfit(
            path,
            f"it has the columns {', '.join(schema.names[:10]) or 'none'}",
            "Name the column that holds the labels `label`, or several of them `label_1`, "
            "`label_2` and so on.",
        )
    targets = expected or ["label"]
    kinds = {name: schema.field(name).type for name in schema.names}
    numeric = [name for name, kind in kinds.items() if _is_numeric(kind)]
    if wrong := [name for name in targets if name not in numeric or _is_list(kinds[name])]:
        raise unfit(
            path,
            f"column {wrong[0]} is {kinds[wrong[0]]}",
            "Store the number of each class, and name the classes in `classes`.",
        )
    inputs = [n for n in numeric if n not in targets and not n.startswith(PANDAS_INDEX)]
    if not inputs:
        raise unfit(path, "it has no column of numbers beside the labels", "Add the inputs.")
    return targets, inputs


def _parquet_inputs(path: Path) -> NDArray[Any]:
    """(n, D), in the smallest type that holds the values of all columns."""
    import numpy as np
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        _, names = _columns(path, file.schema_arrow)
        table = file.read(columns=names)
    columns = [_array(path, name, table.column(name)).reshape(len(table), -1) for name in names]
    return np.concatenate(columns, axis=1)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_numeric(kind: Any) -> bool:
    """Whether a column holds numbers, or lists of them."""
    from pyarrow import types

    while _is_list(kind):
        kind = kind.value_type
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(test(kind) for test in tests)


def _array(path: Path, name: str, column: Any) -> NDArray[Any]:
    """The values (n, *shape) of a column of n rows, which may be lists. Raises: UserError."""
    import pyarrow
    from pyarrow import compute

    values = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    shape = [len(values)]
    while _is_list(values.type):
        lengths = compute.unique(compute.list_value_length(values).fill_null(0)).to_pylist()
        if len(lengths) > 1:
            what = f"column {name} has lists of {min(lengths)} to {max(lengths)} values"
            raise unfit(path, what, "Fill or pad them, or leave those rows out.")
        shape += lengths or [0]
        values = values.flatten()
    if values.null_count:
        what = f"column {name} lacks {values.null_count} of its {len(values)} values"
        raise unfit(path, what, "Fill them, or leave those rows out.")
    if pyarrow.types.is_decimal(values.type):
        values = values.cast(pyarrow.float64())
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return flat.reshape(shape)


_SURVEYS: dict[str, Callable[[Path], tuple[tuple[int, ...], NDArray[Any], dict[str, Any]]]] = {
    ".npz": _survey_npz,
    ".parquet": _survey_parquet,
}
