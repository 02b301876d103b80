"""Checks of addresses, without a connection. Standard library only."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

LOGIN = (
    "mirror: the address holds a user name, a password or a query (?…), which would be seen in "
    "logs and in the list of processes. Write user name and password to the file .netrc in your "
    "home folder, which is read for this host (machine HOST login NAME password PASSWORD), and "
    "leave them out of the address."
)
# As a path makes one slash of two, one is enough.
_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+:/")


def is_url(source: str) -> bool:
    """Whether a mirror is a base URL, and not a folder."""
    return source.lower().startswith(("http://", "https://"))


def refusal(mirror: str) -> str | None:
    """Why a mirror cannot be used that looks like an address; None for others, and for folders.

    Quotes nothing of it that may be a secret.
    """
    if not _ADDRESS.match(mirror):
        return None
    if any(mark in mirror for mark in "@?#"):
        return LOGIN
    try:
        parts = urlsplit(mirror)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not (whole and is_url(mirror)) or re.search(r"\s", mirror):
        return (
            f"mirror: '{mirror}' was given; an address is http://HOST/FOLDER or "
            "https://HOST/FOLDER, without blanks."
        )
    return None
