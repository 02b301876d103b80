"""A user's own data: inputs and labels in an .npz or .parquet file. No code is needed for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from eosflow.datasets.base import DatasetSettings, Facts, Pool, Resources
from eosflow.datasets.table_files import TableFile, read_inputs, survey, unfit
from eosflow.storage.settings import UNIQUE


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
    def _file(self) -> TableFile:
        return survey(Path(self.path))

    def input_shape(self) -> tuple[int, ...]:
        """`shape`, or the file's own. Raises: UserError if the two contradict each other."""
        stored = self._file.shape[1:]
        flat = len(stored) == 1
        if (
            self.shape
            and self.shape != stored
            and not (flat and math.prod(self.shape) == stored[0])
        ):
            raise unfit(
                Path(self.path),
                f"an input has the shape {stored} there, and `shape` is {self.shape}",
                "Leave `shape` out, give one whose product is the number of values of an input, or "
                "bring the axes of the inputs into this order with numpy.moveaxis.",
            )
        return self.shape or stored

    def class_names(self) -> tuple[str, ...] | None:
        """`classes`, or "0", "1", …; None if the labels are numbers to fit.

        Raises: UserError if there are more or fewer names than classes.
        """
        count = self._file.classes
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
        labels = self._file.labels
        return labels.shape[1] if labels.ndim == 2 else 1

    def size(self, held_out: bool = False) -> int:
        """The rows of the file; all are for training."""
        return 0 if held_out else self._file.shape[0]

    def described(self) -> Facts:
        return Facts(self.title, (), self.licence, self.citation)

    def sources(self) -> tuple[str, ...]:
        return (self.path,)

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """Every row of the file, in its order. Inputs: as stored, flattened, the last axis fastest.

        Raises: UserError if the file is not as `table_files` says that it must be.
        """
        import numpy as np

        file, values = self._file, read_inputs(Path(self.path))
        numbers = file.classes is None
        return Pool(
            labels=file.labels.astype(np.float64) if numbers else file.labels.astype(np.int64),
            inputs=lambda rows: values[rows],
            scale=self.scale,
            preprocessing={
                "values": f"as in the file, times {self.scale:g}",
                "input": f"{list(self.input_shape())}, flattened, the last axis fastest",
                **file.remarks,
            },
        )
