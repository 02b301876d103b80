"""Reading members straight out of .zip and .tar.gz archives, without unpacking them to disk."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from eosflow.storage.errors import UserError

# The largest published member is a CIFAR-10 batch of 31 MB. The bound stops archives that unpack
# to far more than their own size.
MEMBER_LIMIT = 64 * 2**20  # bytes


def read_members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The bytes of the members whose file names are `wanted`, whatever folder they lie in.

    Every member's name is checked, also of those that are not wanted.

    Raises: UserError where the archive is absent, damaged, or holds a member that lies outside its
    folder, is a link or is too large, or where a wanted member is missing or there twice.
    """
    if not archive.exists():
        raise UserError(f"{archive} does not exist; fetch it with scripts/fetch.py")
    try:
        if archive.suffix == ".zip":
            found = _read_zip(archive, wanted)
        else:
            found = _read_tar(archive, wanted)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(
            f"{archive} is truncated or damaged ({error or type(error).__name__}); delete it and "
            "fetch it again"
        ) from error
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise UserError(
            f"{archive} has no member {', '.join(missing)}: it is not the published archive, or an "
            "incomplete one. Delete it and fetch it again."
        )
    return found


def _read_zip(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            name = _checked(archive, info.filename, info.file_size, (mode & 0o170000) == 0o120000)
            if name in wanted and not info.is_dir():
                _keep(archive, found, name, file.read(info))
    return found


def _read_tar(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as file:
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
    raise UserError(
        f"{archive}: member {name!r} {reason}. This is not the published archive; nothing was "
        "unpacked. Delete it and fetch it from the official host."
    )


def _keep(archive: Path, found: dict[str, bytes], name: str, content: bytes) -> None:
    if name in found:
        raise UserError(f"{archive} has two members named {name}: it is not the published archive")
    found[name] = content
