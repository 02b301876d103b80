"""The error that a user can act on, and words for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from eosflow.storage.quoting import fit_to_show


class UserError(Exception):
    """An error in the input: the message has what was given, what is allowed and what to do.

    Scripts print only the message and exit with 1. Any other exception is a defect of the program
    and keeps its traceback. `eosflow.storage.quoting` makes quoted text safe to print.
    """

    def __init__(self, message: str) -> None:
        super().__init__(fit_to_show(message))


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """` Did you mean NAME?` with the nearest known name, to end a sentence; empty if none is."""
    near = difflib.get_close_matches(given, list(known), n=1) if isinstance(given, str) else []
    return f" Did you mean {near[0]}?" if near else ""


@contextmanager
def needs(package: str, extra: str, what: str) -> Iterator[None]:
    """Say what to install where `what` imports a package, one of an extra of ours, in vain.

    Raises: UserError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UserError(
            f"{what} needs the package {package}, which is not installed: "
            f"pip install 'eosflow[{extra}]'."
        ) from None
