"""What every dataset says of itself before its data are read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field

from eosflow.datasets.archives import UnfitArchive, read_members
from eosflow.storage.errors import UserError
from eosflow.storage.records import Record
from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Targets = NDArray[np.int64] | NDArray[np.float64]

# Raise this when the rows of a subset change, or a part of its record that others read, and
# TRAINING_VERSION of `eosflow.runs.spec` with it: runs do not look at this one.
SUBSET_VERSION = 1


def subset_file(dataset: str, seed: int | None) -> str:
    """The name of a subset file; None as seed: that of the held-out examples, of the test split."""
    return f"{dataset}-{'held-out' if seed is None else f'subset{seed}'}.npz"


@dataclass(frozen=True)
class Archive:
    """One official download: `name` is also its name in a mirror."""

    name: str
    url: str
    sha256: str | None  # of the official archive; None if it is not known


@dataclass(frozen=True)
class Facts:
    """A dataset's name for people, what it is downloaded as, its licence and its citation."""

    title: str
    archives: tuple[Archive, ...]
    licence: str
    citation: str


@dataclass(frozen=True)
class Resources:
    """What a dataset may use besides its settings: its archive and a cache folder."""

    archive: Path | None
    cache: Path

    @contextmanager
    def members(self, *names: str) -> Iterator[dict[str, bytes]]:
        """Files of the archive by their names, to be parsed inside.

        Raises: UnfitArchive, also for a ValueError inside: the archive is not the published one.
        """
        assert self.archive is not None  # `write_subset` asks for one if the facts list one
        members = read_members(self.archive, names)
        try:
            yield members
        except ValueError as error:
            raise UnfitArchive(f"{self.archive}: {error}") from error


@dataclass(frozen=True)
class Pool:
    """The split that subsets are drawn from.

    labels: int64 (n,), 0 … C−1, or the numbers to fit, float64 (n,) or (n, C). inputs: row numbers
    (k,) -> stored values (k, D); only the rows asked for are ever made. The run's input is the
    stored value times `scale`. preprocessing: what was done, in words and numbers that JSON can
    hold.
    """

    labels: Targets
    inputs: Callable[[Integers], NDArray[Any]]
    scale: float
    preprocessing: dict[str, Any]


class DatasetSettings(Plugin, ABC):
    """A dataset with its settings, and a line in `DATASETS`.

    The methods raise UserError if they read a user's file that is absent or unfit.
    """

    facts: ClassVar[Facts]

    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input; a subset stores it flattened, the last axis fastest."""

    @abstractmethod
    def class_names(self) -> tuple[str, ...] | None:
        """The names of labels 0 … C−1; None if the targets are numbers to fit."""

    @abstractmethod
    def size(self, held_out: bool = False) -> int:
        """Examples of the training split; with `held_out`, of the test split, 0 if there is none.

        Subsets are drawn from the training split, and no run is trained on the other.
        """

    @abstractmethod
    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """The training or the test split. Raises: UserError if its source is not as it should be.

        Both are prepared alike, by numbers of the training split alone.
        """

    def outputs(self) -> int:
        """C, the number of network outputs: one for each class, or for each number to fit."""
        names = self.class_names()
        if names is None:
            raise NotImplementedError(f"{type(self).__name__} has no classes and must count them")
        return len(names)

    def dimension(self) -> int:
        """D, the length of one flattened input."""
        return math.prod(self.input_shape())

    def described(self) -> Facts:
        """`facts`, or those of the user's own data."""
        return self.facts

    def sources(self) -> tuple[str, ...]:
        """Paths of the user's own files that the data are read from."""
        return ()


def damaged(path: Path, reason: str) -> UserError:
    """What is said of a subset file, or its record, that cannot be used."""
    return UserError(
        f"{path} is not a subset file or is damaged ({reason}); delete it and start the workflow "
        "again, which draws it again"
    )


class SubsetRecord(Record):
    """What `write_subset` writes beside a subset; of an excerpt, kept as evidence, less is there.

    `kind` is the name of the dataset's class, `dataset` that of the configuration; `subset_seed` is
    None for held-out examples. The rest is for people, and kept as it is.
    """

    dataset: str
    kind: str | None = None
    settings: dict[str, Any]
    subset_seed: int | None
    size: Annotated[int, Field(ge=1)]
    sha256: str | None = None
    subset_version: int | None = None

    @classmethod
    def beside(cls, subset: Path) -> Self | None:
        """The record of a subset file; None if there is none. Raises: UserError if damaged."""
        path = subset.with_suffix(".json")
        try:
            return cls.read(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise damaged(path, str(error)) from error
