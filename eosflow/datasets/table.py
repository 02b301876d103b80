"""A user's own data: inputs and labels in an .npz or .parquet file. No code is needed for it."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from eosflow.datasets.base import DatasetSettings, Facts
from eosflow.datasets.pool import Pool, Resources
from eosflow.datasets.table_files import COUNTED, MEASURED, Form, opened, unfit
from eosflow.storage.settings import UNIQUE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _survey(path: Path) -> tuple[Form, int | None]:
    """The form of a file, and C if its labels are classes; read once for each state of the file."""
    stat = path.stat() if os.path.isfile(path) else None  # noqa: PTH113  (this never raises)
    return _surveyed(path, stat and (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=64)
def _surveyed(path: Path, _: Any) -> tuple[Form, int | None]:
    with opened(path) as file:
        form = file.form
        _check_form(path, form)
        counted = form.labels_kind in COUNTED
        return form, _class_count(path, file.labels()) if counted else None


def _check_form(path: Path, form: Form) -> None:
    for name, kind in (("inputs", form.inputs_kind), ("labels", form.labels_kind)):
        if kind not in COUNTED + MEASURED:
            what = {"c": "complex numbers", "U": "text", "S": "text"}.get(kind, f"of kind {kind}")
            raise unfit(path, f"`{name}` is {what}", "Store real numbers.")
    counted = form.labels_kind in COUNTED
    shapes = f"`inputs` has the shape {form.inputs}, `labels` {form.labels}"
    if len(form.inputs) < 2:
        remedy = "A row must be a list of values: use inputs.reshape(n, -1)."
    elif not form.labels or form.inputs[0] != form.labels[0]:
        remedy = "Each row needs its label."
    elif math.prod(form.inputs) == 0 or math.prod(form.labels) == 0:
        remedy = "It holds no values: save at least one row."
    elif len(form.labels) > (1 if counted else 2):
        remedy = "Classes are one whole number per row; for numbers use labels.astype(float)."
    else:
        return
    raise unfit(path, shapes, remedy)


def _class_count(path: Path, labels: NDArray[Any]) -> int:
    import numpy as np

    known = np.unique(labels).tolist()
    wrong = [(due, label) for due, label in enumerate(known) if label != due]
    if len(known) > 1 and not wrong:
        return len(known)
    shown = ", ".join(str(int(label)) for label in known[:8]) + (", …" if len(known) > 8 else "")
    place = f": {int(wrong[0][1])} comes in place of {wrong[0][0]}" if wrong else " alone"
    raise unfit(
        path,
        f"the labels are {shown}{place}",
        "Number two classes or more 0 … C−1, such as numpy.unique(labels, return_inverse=True)[1]; "
        "if they are numbers to fit, use labels.astype(float).",
    )


class Table(DatasetSettings):
    """Your own file, with the names, licence and shape given here."""

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
    licence: str = Field(description="licence of the data", min_length=1, examples=["CC0"])
    citation: str = Field("", description="reference to cite for the data")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="shape of one input, such as [3, 32, 32] for channels, rows and columns; "
        "empty: as in the file",
    )
    scale: float = Field(1.0, description="factor on every stored input", gt=0)
    classes: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], UNIQUE] = Field(
        (), description="names of the classes 0, 1, …; empty: the numbers"
    )

    @property
    def _form(self) -> Form:
        return _survey(Path(self.path))[0]

    def input_shape(self) -> tuple[int, ...]:
        """`shape`, or the file's own. Raises: UserError if the two contradict each other."""
        stored = self._form.inputs[1:]
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

        Raises: UserError if there are more or fewer names than classes.
        """
        count = _survey(Path(self.path))[1]
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
        labels = self._form.labels
        return labels[1] if len(labels) == 2 else 1

    def size(self, held_out: bool = False) -> int:
        """The rows of the file; all are for training."""
        return 0 if held_out else self._form.inputs[0]

    def described(self) -> Facts:
        return Facts(self.title, (), self.licence, self.citation)

    def sources(self) -> tuple[str, ...]:
        return (self.path,)

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """Every row of the file, in its order. Inputs: as stored, flattened, the last axis fastest.

        Raises: UserError if the file is not as `table_files` says that it must be.
        """
        import numpy as np

        path, shape = Path(self.path), self.input_shape()
        with opened(path) as file:
            stored, labels, remarks = file.inputs(), file.labels(), file.remarks
        values = stored.reshape(len(stored), -1)
        classes = self.class_names() is not None
        return Pool(
            labels=labels.astype(np.int64) if classes else labels.astype(np.float64),
            inputs=lambda rows: values[rows],
            scale=self.scale,
            preprocessing={
                "values": f"as in the file, times {self.scale:g}",
                "input": f"{list(shape)}, flattened, the last axis fastest",
                **remarks,
            },
        )
