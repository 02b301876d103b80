"""Reading members straight out of .zip and .tar.gz archives; nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from eosflow.storage.errors import UserError
from eosflow.storage.foreign import foreign

# The largest published member is CIFAR-100's train.bin of 154 MB. The bounds stop archives that
# unpack to far more than their own size.
MEMBER_LIMIT = 160 * 2**20  # bytes
WHOLE_LIMIT = 512 * 2**20  # of a whole archive, unpacked; CIFAR-10 and CIFAR-100 have 184 MB each


class UnfitArchive(UserError):
    """The content is not that of the published archive: another one, a part, or damaged."""


def read_members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The bytes of the files whose names are `wanted`, whatever folder they lie in.

    Raises: UserError if the archive is absent, damaged or unpacks to too much, or if a wanted
    member is missing or there twice.
    """
    if not os.path.lexists(archive):
        raise UserError(f"{archive} does not exist: start the workflow, which fetches it")
    if not os.path.isfile(archive):  # noqa: PTH113  (this never raises)
        raise UserError(
            f"{archive} is not a file: move it away and start the workflow, which fetches it"
        )
    read = _zip_members if archive.suffix == ".zip" else _tar_members
    members: dict[str, bytes] = {}
    try:
        with foreign(lambda why: UnfitArchive(f"{archive} is truncated or damaged ({why})")):
            for name, content in read(archive, wanted):
                if name in members:
                    raise ValueError(f"it has two members named {name}")
                members[name] = content
    except PermissionError as error:
        raise UserError(f"{archive} cannot be read: {error.strerror}") from error
    if missing := sorted(set(wanted) - set(members)):
        raise UnfitArchive(
            f"{archive} has no member {', '.join(missing)}: it is not the published archive, or an "
            "incomplete one"
        )
    return members


def _zip_members(archive: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if (name := PurePosixPath(info.filename).name) in wanted:
                _check(info.file_size)
                # Not file.read(), which unpacks up to 2 GiB before it looks at the size promised.
                with file.open(info) as stream:
                    content = stream.read(info.file_size + 1)
                if len(content) != info.file_size:
                    raise zipfile.BadZipFile(f"{name} has not the size it promises")
                yield name, content


def _tar_members(archive: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with gzip.open(archive) as unbounded:
        stream = _Bounded(unbounded)
        with tarfile.open(fileobj=stream, mode="r:") as file:  # type: ignore[call-overload]
            for member in file:
                if (name := PurePosixPath(member.name).name) in wanted and member.isreg():
                    content = file.extractfile(member)
                    assert content is not None  # a regular member always has content
                    yield name, content.read()
        # The checksum stands at the very end, which tarfile has no need to read.
        if len(stream.read(MEMBER_LIMIT)) == MEMBER_LIMIT:
            raise tarfile.ReadError("there is more after the last member")


class _Bounded:
    """A stream that refuses what tarfile would ask of it for a header that promises gigabytes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or as many as there are."""
        _check(size, self.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        """Go to a position in what is unpacked."""
        _check(0, position)
        return self._stream.seek(position)


def _check(size: int, end: int = 0) -> None:
    if not 0 <= size <= MEMBER_LIMIT or end > WHOLE_LIMIT:
        raise tarfile.ReadError(
            f"it unpacks to more than {MEMBER_LIMIT} bytes at once or {WHOLE_LIMIT} in all"
        )
