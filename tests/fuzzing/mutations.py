"""Bugs that the fuzz must find."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A file of the program, text in it, the text with the bug, and which round finds it.

    `kinds` are the kinds of files that the round damages, and `harms` the ways; all if empty.
    """

    file: str
    right: str
    wrong: str
    act: str
    kinds: tuple[str, ...] = ()
    harms: tuple[str, ...] = ()


MUTATIONS = {
    # A record is read whatever its seal says.
    "skipped-seal": Mutation(
        "eosflow/storage/files.py",
        'if first.removesuffix(b",") != _seal(lines).encode():',
        "if not first:",
        "harm",
        ("provenance",),  # of other records most digits are compared with something else, too
        ("digit",),
    ),
    # Files are written under their final names, and stay if that goes wrong.
    "no-rename": Mutation(
        "eosflow/storage/files.py",
        "    temporary = Path(name)\n    try:\n        yield temporary\n",
        "    temporary = Path(name)\n    temporary.unlink()\n    yield path\n    return\n"
        "    try:\n        yield temporary\n",
        "full",
    ),
    # A run goes on from any checkpoint, whichever run's it is.
    "any-checkpoint": Mutation(
        "eosflow/runs/folder.py",
        "checkpoint.trajectory_key != self.spec.trajectory_key\n            or ",
        "",
        "confused",
    ),
    # A run goes on with whatever examples there are now.
    "other-examples": Mutation(
        "eosflow/runs/train.py",
        'if checkpoint.data.get("rows_sha256") != now["rows_sha256"]:',
        "if not checkpoint.data:",
        "replaced",
    ),
}
