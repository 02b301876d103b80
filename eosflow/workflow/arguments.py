"""Arguments of a command line: what is wrong with them is a message, with the nearest names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NoReturn

from eosflow.storage.errors import UserError, did_you_mean


class Parser(argparse.ArgumentParser):
    """Raises UserError for wrong arguments, as its commands do, in place of ending with 2."""

    def error(self, message: str) -> NoReturn:
        """Raises: UserError with what is wrong, names that are near, and the usage."""
        wrong = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        meant = did_you_mean(wrong[1] or wrong[2], list(_names(self))) if wrong else ""
        raise UserError(f"{message}.{meant}\n{self.format_usage().strip()}")


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a parser, and the commands below it with theirs."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from _names(below)
