"""The record beside a subset file: what was drawn, from which data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from eosflow.storage.errors import UserError
from eosflow.storage.records import Record


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
