"""Columns of a .parquet whose values are lists, or lists of lists, of numbers: rows of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Uneven(ValueError):
    """The rows of a column have no one shape."""


def of_lists(kind: Any) -> bool:
    """Whether a pyarrow type is one of lists."""
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def innermost(kind: Any) -> Any:
    """The type of the values in the lists; that of a column without lists is its own."""
    while of_lists(kind):
        kind = kind.value_type
    return kind


def arrays(column: Any) -> NDArray[Any]:
    """The values (n, *shape) of a pyarrow column of n rows, which may be lists.

    Raises: Uneven where lists differ in length, or a value is missing.
    """
    import pyarrow
    from pyarrow import compute

    values = column.combine_chunks()
    if isinstance(values, pyarrow.ChunkedArray):
        values = pyarrow.concat_arrays(values.chunks)
    shape = [len(values)]
    while of_lists(values.type):
        lengths = compute.unique(compute.list_value_length(values)).to_pylist()
        if values.null_count or len(lengths) > 1:
            found = sorted(length or 0 for length in lengths)
            raise Uneven(f"has lists of {found[0]} to {found[-1]} values")
        shape.append(lengths[0] if lengths else 0)
        values = values.flatten()
    if values.null_count:
        raise Uneven(f"lacks {values.null_count} of its {len(values)} values")
    if pyarrow.types.is_decimal(values.type):
        values = values.cast(pyarrow.float64())
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return flat.reshape(shape)
