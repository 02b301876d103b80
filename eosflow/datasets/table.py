"""A user's own data: inputs and labels in an .npz or .parquet file. No code is needed for it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from eosflow.datasets.base import DatasetSettings, Facts, Pictures, Preview
from eosflow.datasets.pool import Pool, Resources
from eosflow.datasets.table_files import COUNTED, MEASURED, Form, opened, unfit
from eosflow.storage.settings import UNIQUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eosflow.datasets.pool import Integers


@dataclass(frozen=True)
class _Survey:
    """What planning must know of a file: its form, and C where the labels are classes."""

    form: Form
    classes: int | None


def _survey(path: Path) -> _Survey:
    """Read and check what planning needs, once for each state of the file. Raises: UserError."""
    stat = path.stat() if path.is_file() else None
    return _surveyed(path, stat and (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=64)
def _surveyed(path: Path, _: Any) -> _Survey:
    with opened(path) as file:
        form = file.form()
        _check_form(path, form)
        if form.labels_kind in MEASURED:
            return _Survey(form, None)
        return _Survey(form, _class_count(path, file.labels()))


def _check_form(path: Path, form: Form) -> None:
    for name, kind in (("inputs", form.inputs_kind), ("labels", form.labels_kind)):
        if kind not in COUNTED + MEASURED:
            what = {"c": "complex numbers", "U": "text", "S": "text"}.get(kind, f"of kind {kind}")
            raise unfit(path, f"`{name}` is {what}", "Store real numbers.")
    if len(form.inputs) < 2:
        raise unfit(
            path,
            f"`inputs` has the shape {form.inputs}, a row must be a list of values",
            "Use inputs.reshape(n, -1).",
        )
    if not form.labels or form.inputs[0] != form.labels[0]:
        rows = form.labels[0] if form.labels else "no"
        raise unfit(
            path,
            f"`inputs` has {form.inputs[0]} rows and `labels` {rows}",
            "Each row needs its label.",
        )
    if math.prod(form.inputs) == 0 or math.prod(form.labels) == 0:
        raise unfit(
            path,
            f"it holds no values: `inputs` has the shape {form.inputs}, `labels` {form.labels}",
            "Save at least one row.",
        )
    if len(form.labels) > (1 if form.labels_kind in COUNTED else 2):
        kind = "whole numbers" if form.labels_kind in COUNTED else "decimals"
        raise unfit(
            path,
            f"`labels` are {kind} of the shape {form.labels}",
            "Classes are one whole number per row; for numbers to fit use labels.astype(float).",
        )


def _class_count(path: Path, labels: NDArray[Any]) -> int:
    import numpy as np

    known = np.unique(labels).tolist()
    first = next((place for place, label in enumerate(known) if label != place), None)
    if first is not None:
        shown = ", ".join(str(int(label)) for label in known[:8])
        what = f"{int(known[0])} is negative" if known[0] < 0 else f"no row has label {first}"
        raise unfit(
            path,
            f"the labels are {shown}{', …' if len(known) > 8 else ''}: {what}",
            "Number the classes 0 … C−1, such as numpy.unique(labels, return_inverse=True)[1]; if "
            "they are numbers to fit, use labels.astype(float).",
        )
    if len(known) == 1:
        raise unfit(
            path,
            "every row has label 0, so that there is nothing to tell apart",
            "Add rows of a second class, or use labels.astype(float) if it is a number to fit.",
        )
    return len(known)


def _finite(path: Path, name: str, values: NDArray[Any]) -> None:
    import numpy as np

    if values.dtype.kind in MEASURED and not (fine := np.isfinite(values)).all():
        rows = np.flatnonzero(~fine.reshape(len(values), -1).all(axis=1))
        raise unfit(
            path,
            f"`{name}` is NaN or infinite in {len(rows)} rows, the first of them row {rows[0]}",
            "Fill these values or leave the rows out.",
        )


def _float64_at_most(values: NDArray[Any]) -> NDArray[Any]:
    """Extended precision, which is another type on every machine, made float64."""
    import numpy as np

    wide = values.dtype.kind in MEASURED and values.dtype.itemsize > 8
    return values.astype(np.float64) if wide else values


class Table(DatasetSettings):
    """A user's own file, with the names, licence and shape that the config gives it."""

    name: ClassVar[str] = "table"
    unkeyed: ClassVar[tuple[str, ...]] = ("title", "licence", "citation", "classes")
    facts: ClassVar[Facts] = Facts(
        title="A table of your own",
        archives=(),
        licence="the one that its settings name",
        citation="the one that its settings name",
    )

    path: str = Field(
        description="the file, an .npz with inputs and labels or a .parquet with a column label",
        min_length=1,
        examples=["my-data.npz"],
    )
    title: str = Field(
        description="name of the dataset in figures and tables", min_length=1, examples=["My data"]
    )
    licence: str = Field(
        description="what others may do with the data", min_length=1, examples=["CC0"]
    )
    citation: str = Field("", description="whom to cite for the data")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="shape of one input, such as [3, 32, 32] for channels, rows and columns; "
        "empty: as the file has it",
    )
    scale: float = Field(1.0, description="factor on every stored input", gt=0)
    classes: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], UNIQUE] = Field(
        (),
        description="names of the classes 0, 1, …; empty: their numbers",
    )

    def input_shape(self) -> tuple[int, ...]:
        """`shape`, or the file's own. Raises: UserError where the two contradict each other."""
        stored = _survey(Path(self.path)).form.inputs[1:]
        if not self.shape or self.shape == stored:
            return stored
        if len(stored) > 1:
            raise unfit(
                Path(self.path),
                f"an input has the shape {stored} there, and `shape` is {self.shape}",
                "Leave `shape` out, or bring the axes of the inputs into this order with "
                "numpy.moveaxis.",
            )
        if math.prod(self.shape) != stored[0]:
            raise unfit(
                Path(self.path),
                f"an input has {stored[0]} values, and `shape` {self.shape} means "
                f"{math.prod(self.shape)}",
                "Set `shape` so that its product is the number of values of an input.",
            )
        return self.shape

    def class_names(self) -> tuple[str, ...] | None:
        """`classes`, or "0", "1", …; None if the labels are numbers to fit.

        Raises: UserError where there are more or fewer names than classes.
        """
        count = _survey(Path(self.path)).classes
        if count is None and self.classes:
            raise unfit(
                Path(self.path),
                f"`classes` names {', '.join(self.classes)}, but the labels are numbers to fit",
                "Leave `classes` out, or store whole numbers: labels.astype(int).",
            )
        if count is None:
            return None
        if self.classes and len(self.classes) != count:
            raise unfit(
                Path(self.path),
                f"`classes` has {len(self.classes)} names, and the labels are 0 to {count - 1}",
                f"Give {count} names, or none.",
            )
        return self.classes or tuple(map(str, range(count)))

    def outputs(self) -> int:
        """One for each class, or for each number to fit."""
        names = self.class_names()
        if names is not None:
            return len(names)
        labels = _survey(Path(self.path)).form.labels
        return labels[1] if len(labels) == 2 else 1

    def pool_size(self) -> int:
        """The rows of the file; all are for training."""
        return _survey(Path(self.path)).form.inputs[0]

    def described(self) -> Facts:
        """What the settings say of the data."""
        return Facts(self.title, (), self.licence, self.citation)

    def sources(self) -> tuple[str, ...]:
        """The file."""
        return (self.path,)

    def preview(self, shape: tuple[Annotated[int, Field(ge=1)], ...]) -> Preview:
        """Pictures where the shape is that of pictures, else one row of grey pixels."""
        match shape:
            case (1 | 3 as colours, height, width):
                return Pictures((colours, height, width))
            case (height, width):
                return Pictures((1, height, width))
        return super().preview(shape)

    def open_pool(self, resources: Resources) -> Pool:
        """Every row of the file, in its order. Inputs: as stored, flattened, the last axis fastest.

        Raises: UserError where the file is not as `table_files` says that it must be.
        """
        import numpy as np

        path, shape = Path(self.path), self.input_shape()
        with opened(path) as file:
            stored, labels = _float64_at_most(file.inputs()), file.labels()
            remarks = file.remarks()
        _finite(path, "inputs", stored)
        _finite(path, "labels", labels)
        values = stored.reshape(len(stored), -1)

        def inputs(rows: Integers) -> NDArray[Any]:
            return values[rows]

        classes = self.class_names() is not None
        return Pool(
            labels=labels.astype(np.int64) if classes else labels.astype(np.float64),
            inputs=inputs,
            scale=self.scale,
            preprocessing={
                "values": f"as in the file, times {self.scale:g}",
                "input": f"{list(shape)}, flattened, the last axis fastest",
                **remarks,
            },
        )
