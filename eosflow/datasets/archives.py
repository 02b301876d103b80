"""Reading members straight out of .zip and .tar.gz archives; nothing is unpacked to disk."""

from __future__ import annotations

import functools
import gzip
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from eosflow.storage.errors import UserError
from eosflow.storage.foreign import foreign

# The largest published member is CIFAR-100's train.bin of 154 MB. The bound stops an archive that
# unpacks to far more than its own size.
MEMBER_LIMIT = 160 * 2**20  # bytes


# The path of a member, its size, and what opens it.
Member = tuple[str, int, Callable[[], IO[bytes]]]


class UnfitArchive(UserError):
    """The content is not that of the published archive: another one, a part, or damaged."""


def read_members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The bytes of the files whose names are `wanted`, whatever folder they lie in.

    Raises: UnfitArchive if the archive is damaged, if a wanted member is missing, there twice or
    larger than any published one.
    """
    members_of = _zip_members if archive.suffix == ".zip" else _tar_members
    members: dict[str, bytes] = {}
    with foreign(lambda why: UnfitArchive(f"{archive} is truncated or damaged ({why})")):
        for path, size, opened in members_of(archive):
            if (name := PurePosixPath(path).name) not in wanted:
                continue
            if name in members:
                raise ValueError(f"it has two members named {name}")
            if size > MEMBER_LIMIT:
                raise ValueError(f"{name} unpacks to more than {MEMBER_LIMIT} bytes")
            with opened() as file:
                members[name] = file.read()  # no more than `size`
    if missing := sorted(set(wanted) - set(members)):
        raise UnfitArchive(
            f"{archive} has no member {', '.join(missing)}: it is not the published archive, or an "
            "incomplete one"
        )
    return members


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            yield info.filename, info.file_size, functools.partial(file.open, info)


def _tar_members(archive: Path) -> Iterator[Member]:
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as file:
            for member in file:
                if member.isreg():
                    opened: Any = functools.partial(file.extractfile, member)
                    yield member.name, member.size, opened
        # The checksum stands at the very end, which tarfile has no need to read.
        while stream.read(2**20):
            pass
