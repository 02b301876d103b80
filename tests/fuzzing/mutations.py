"""Bugs that the fuzz must find."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any


@dataclass(frozen=True)
class Mutation:
    """A module of the program, text in it, the text with the bug, and which round finds it.

    `kinds` are the kinds of files that the round damages, and `harms` the ways; all if empty.
    """

    module: str
    right: str
    wrong: str
    act: str
    kinds: tuple[str, ...] = ()
    harms: tuple[str, ...] = ()

    def plant(self) -> None:
        """Put the bug into this process, whoever has imported from the module already."""
        module = importlib.import_module(self.module)
        source = Path(str(module.__file__)).read_text()
        assert source.count(self.right) == 1, f"{self.module} has changed: mend tests/fuzzing"
        spoilt = dict(vars(module))
        text = source.replace(self.right, self.wrong)
        exec(compile(text, str(module.__file__), "exec"), spoilt)
        new = dict(_functions(spoilt, self.module))
        for name, function in _functions(vars(module), self.module):
            function.__code__ = new[name].__code__


def _functions(names: dict[str, Any], module: str) -> Iterator[tuple[str, FunctionType]]:
    """The functions and methods that a module defines, by their full names."""
    for value in list(names.values()):
        if getattr(value, "__module__", None) != module:
            continue
        inside = vars(value).values() if inspect.isclass(value) else [value]
        for each in inside:
            function = inspect.unwrap(each) if callable(each) else None
            if isinstance(function, FunctionType):
                yield function.__qualname__, function


MUTATIONS = {
    # A record is read whatever its seal says.
    "skipped-seal": Mutation(
        "eosflow.storage.files",
        'if first.removesuffix(b",") != _seal(lines).encode():',
        "if not first:",
        "harm",
        ("provenance",),  # of other records most digits are compared with something else, too
        ("digit",),
    ),
    # Files are written under their final names, and stay if that goes wrong.
    "no-rename": Mutation(
        "eosflow.storage.files",
        "    temporary = Path(name)\n    try:\n        yield temporary\n",
        "    temporary = Path(name)\n    temporary.unlink()\n    yield path\n    return\n"
        "    try:\n        yield temporary\n",
        "full",
    ),
    # A run goes on from any checkpoint, whichever run's it is.
    "any-checkpoint": Mutation(
        "eosflow.runs.folder",
        "checkpoint.trajectory_key != self.spec.trajectory_key\n            or ",
        "",
        "confused",
    ),
    # A run goes on with whatever examples there are now.
    "other-examples": Mutation(
        "eosflow.runs.train",
        'if checkpoint.data.get("rows_sha256") != now["rows_sha256"]:',
        "if not checkpoint.data:",
        "replaced",
    ),
}
