"""Addresses, looked at without a connection. Standard library only."""

from __future__ import annotations

LOGIN = (
    "mirror: the address holds a user name or a password, which would be seen in logs and in the "
    "list of processes. Write them to the file .netrc in your home folder, which is read for this "
    "host (machine HOST login NAME password PASSWORD), and leave them out of the address."
)


def is_url(source: str) -> bool:
    """Whether a mirror is a base URL, and not a folder."""
    return source.startswith(("http://", "https://"))


def has_login(source: str) -> bool:
    """Whether an address holds a user name or password."""
    return is_url(source) and "@" in source.split("//", 1)[1].split("/", 1)[0]
