"""Mirrors: folders or base URLs that hold the archives under their official names.

Standard library only, for the configuration is checked with it.
"""

from __future__ import annotations

import re
from pathlib import Path

LOGIN = (
    "mirror: the address holds a user name, a password or a query (?…), which would be seen in "
    "logs and in the list of processes. Write user name and password to the file .netrc in your "
    "home folder, which is read for this host (machine HOST login NAME password PASSWORD), and "
    "leave them out of the address."
)
# As a path makes one slash of two, one is enough.
_LIKE_AN_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/\S*)?", re.IGNORECASE)
# As sha256sum writes it, with an asterisk for a file read as binary.
_SUM = re.compile(r"\\?(?P<digest>[0-9A-Fa-f]{64}) [ *]?(\./)?(?P<name>\S.*)")


def is_url(source: str) -> bool:
    """Whether a mirror is a base URL, and not a folder."""
    return source.lower().startswith(("http://", "https://"))


def refusal(mirror: str) -> str | None:
    """Why a mirror cannot be used that looks like an address; None for others, and for folders.

    Quotes nothing of it that may be a secret.
    """
    if not _LIKE_AN_ADDRESS.match(mirror):
        return None
    if any(mark in mirror for mark in "@?#"):
        return LOGIN
    if not _ADDRESS.fullmatch(mirror):
        return (
            f"mirror: '{mirror}' was given; an address is http://HOST/FOLDER or "
            "https://HOST/FOLDER, without blanks."
        )
    return None


def in_mirror(mirror: str, name: str) -> str:
    """The address or path of a file in a mirror."""
    return f"{mirror.rstrip('/')}/{name}" if is_url(mirror) else str(Path(mirror) / name)


def listed_sha256(content: bytes, name: str) -> str | None:
    """The SHA-256 of a file in what a SHA256SUMS holds; None if it is not listed.

    Raises: ValueError if a line is not as sha256sum writes it, or if two contradict each other.
    """
    digests = set()
    lines = content.decode("utf-8-sig", "replace").splitlines()
    for number, line in enumerate(map(str.rstrip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if not (entry := _SUM.fullmatch(line)):
            raise ValueError(
                f"line {number} is {line!r:.60}, and not a SHA-256 of 64 hexadecimal digits with a "
                "name, as sha256sum writes it. Mend that file, or remove it"
            )
        if entry["name"] == name:
            digests.add(entry["digest"].lower())
    if len(digests) > 1:
        raise ValueError(f"it has two checksums of {name}. Remove the wrong one")
    return next(iter(digests), None)
