"""One door for records: a sealed JSON file that has the fields it must have, or is damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eosflow.storage.files import read_json, sha256, write_json

# The name of a file relative to the folder of its record: no part of it begins with a point, so
# that none leads out of the folder.
FileName = Annotated[str, Field(pattern=r"^[^/.\x00][^/\x00]*(/[^/.\x00][^/\x00]*)*$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Record(BaseModel):
    """A JSON object with known fields. It never changes; what the fields do not name is kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=False)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """The record in a file.

        Raises: FileNotFoundError; ValueError if its seal or one of its fields is not right.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            location = ".".join(map(str, first["loc"]))
            raise ValueError(f"its {location} cannot be used: {first['msg']}") from error

    @classmethod
    def readable(cls, path: Path | str) -> Self | None:
        """As `read`; None if there is no such record."""
        try:
            return cls.read(path)
        except (OSError, ValueError):
            return None

    def write(self, path: Path | str) -> None:
        """Write the record with its seal, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))


class Listed(Record):
    """A file that a record vouches for, below the record's folder."""

    file: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]

    @classmethod
    def of(cls, folder: Path, name: str, **facts: Any) -> Self:
        """The entry of a file that is there."""
        path = folder / name
        return cls(file=name, sha256=sha256(path), bytes=path.stat().st_size, **facts)

    def wrong(self, folder: Path, deep: bool = False) -> str | None:
        """Why the file is not as listed: missing, size or, if `deep`, checksum; None if it is."""
        path = f"{folder}/{self.file}"  # planning looks at 70,000 files, and Path takes its time
        try:
            size = os.stat(path).st_size  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        if size != self.bytes:
            return "size"
        return "checksum" if deep and sha256(path) != self.sha256 else None
