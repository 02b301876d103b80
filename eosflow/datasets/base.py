"""What every dataset says of itself before its data are read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    from eosflow.datasets.pool import Pool, Resources

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
    urls: tuple[str, ...]
    sha256: str | None  # of the official archive; None if it is not known
    size_limit: int  # bytes; a larger answer is refused


@dataclass(frozen=True)
class Facts:
    """A dataset's name for people, what it is downloaded as, its licence and its citation."""

    title: str
    archives: tuple[Archive, ...]
    licence: str
    citation: str


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
