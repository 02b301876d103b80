"""Reading members straight out of .zip and .tar.gz archives, without unpacking them to disk."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from eosflow.storage.errors import UserError
from eosflow.storage.foreign import foreign

# The largest published member is CIFAR-100's train.bin of 154 MB. The bound stops archives that
# unpack to far more than their own size.
MEMBER_LIMIT = 160 * 2**20  # bytes
WHOLE_LIMIT = 512 * 2**20  # of a whole archive, unpacked; CIFAR-10 and CIFAR-100 have 184 MB each


class UnfitArchive(UserError):
    """The content is not that of the published archive: another one, a part, or damaged."""


def read_members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The bytes of the members whose file names are `wanted`, whatever folder they lie in.

    Every member's name is checked, also of those that are not wanted.

    Raises: UserError where the archive is absent, damaged, or holds a member that lies outside its
    folder, is a link or is too large, or where a wanted member is missing or there twice.
    """
    if not os.path.lexists(archive):
        raise UserError(f"{archive} does not exist: start the workflow, which fetches it")
    if not os.path.isfile(archive):  # noqa: PTH113  (this never raises)
        raise UserError(
            f"{archive} is no file: move it away and start the workflow, which fetches it"
        )
    read = _read_zip if archive.suffix == ".zip" else _read_tar
    try:
        with foreign(lambda why: UnfitArchive(f"{archive} is truncated or damaged ({why})")):
            found = read(archive, wanted)
    except PermissionError as error:
        raise UserError(f"{archive} cannot be read: {error.strerror}") from error
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise UnfitArchive(
            f"{archive} has no member {', '.join(missing)}: it is not the published archive, or an "
            "incomplete one"
        )
    return found


def _read_zip(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            name = _checked(archive, info.filename, info.file_size, (mode & 0o170000) == 0o120000)
            if name in wanted and not info.is_dir():
                # Not file.read(), which unpacks up to 2 GiB before it looks at the size promised.
                with file.open(info) as stream:
                    content = stream.read(info.file_size + 1)
                    if len(content) != info.file_size:
                        raise zipfile.BadZipFile(f"{name} has not the size it promises")
                _keep(archive, found, name, content)
    return found


def _read_tar(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with gzip.open(archive) as unbounded:
        stream = _Bounded(unbounded)
        with tarfile.open(fileobj=stream, mode="r:") as file:  # type: ignore[call-overload]
            for member in file:
                special = not (member.isreg() or member.isdir())
                name = _checked(archive, member.name, member.size, special)
                if name in wanted and member.isreg():
                    content = file.extractfile(member)
                    assert content is not None  # a regular member always has content
                    _keep(archive, found, name, content.read())
        # The check sum stands at the very end, which tarfile has no need to read.
        if len(stream.read(MEMBER_LIMIT)) == MEMBER_LIMIT:
            raise tarfile.ReadError("there is more after the last member")
    return found


class _Bounded:
    """A stream that refuses what tarfile would ask of it for a header that promises gigabytes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or as many as there are."""
        self._check(size, self.tell() + size)
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        """Go to a place in what is unpacked."""
        self._check(0, place)
        return self._stream.seek(place)

    def _check(self, size: int, end: int) -> None:
        if not 0 <= size <= MEMBER_LIMIT or end > WHOLE_LIMIT:
            raise tarfile.ReadError(
                f"it unpacks to more than {MEMBER_LIMIT} bytes at once or {WHOLE_LIMIT} in all"
            )


def _checked(archive: Path, name: str, size: int, special: bool) -> str:
    """The member's file name, after refusing what no honest archive holds."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
        reason = "lies outside the archive's folder"
    elif special:
        reason = "is a link or a device"
    elif size > MEMBER_LIMIT:
        reason = f"has {size} bytes, more than the {MEMBER_LIMIT} allowed"
    else:
        return path.name
    raise UnfitArchive(
        f"{archive}: member {name!r:.300} {reason}. This is not the published archive; nothing was "
        "unpacked"
    )


def _keep(archive: Path, found: dict[str, bytes], name: str, content: bytes) -> None:
    if name in found:
        raise UnfitArchive(
            f"{archive} has two members named {name}: it is not the published archive"
        )
    found[name] = content
