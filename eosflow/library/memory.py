"""The memory that a computation needs, checked before it starts."""

from __future__ import annotations

import os

from eosflow.storage.errors import UserError


def present() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refuse_beyond(needed: float, what: str, remedy: str) -> None:
    """Raises: UserError for more bytes than the machine has."""
    there = present()
    if needed > there:
        raise UserError(
            f"{what} need {needed / 1e9:.3g} GB of memory, and this machine has "
            f"{there / 1e9:.3g} GB. {remedy}"
        )
