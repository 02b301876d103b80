"""A folder of kept evidence: which files it has, and reading them as what anyone may have sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from eosflow.results import paper, report
from eosflow.results.collect import RUN_COLUMNS
from eosflow.results.run_summaries import IDENTITY
from eosflow.storage.errors import UserError
from eosflow.storage.foreign import foreign
from eosflow.storage.records import Listed, Record
from eosflow.studies import STUDIES

MANIFEST = "evidence.json"
MOST_BYTES = 16 * 2**30  # of a frame in memory; the paper's have a thousandth of it
FRAMES = ("decomposition", "runs", "trajectories")
OWN_TABLES = [f"{name}.csv" for name in report.TABLES]
DICE_PARAMETERS = "dice-parameters.parquet"
NEEDED = (*(f"{name}.parquet" for name in FRAMES), DICE_PARAMETERS, *OWN_TABLES)
DICE_EXAMPLES = ("dice-examples.npz", "dice-examples.json")
# Tables of studies, from which some figures are drawn; kept and drawn if they were made.
TABLES = [study.data for study in STUDIES.values()]

# Of each trajectory, as far as its optimizer records it: the columns that figures show, and what
# runs.parquet and so the claims are read from.
TRAJECTORY = [
    *("iteration", "flow_time", "step_size", "loss", "eigenvalue_1", "residual"),
    *("converged", "rejected_steps", "negative_dominant"),
]
PARAMETERS = [
    "class",
    *dict.fromkeys(name for ranges in paper.DICE.values() for name in ranges),
]
# Without which nothing can be made of a frame; what only some networks have is not here.
COLUMNS = {
    "decomposition": [
        *(*IDENTITY, "iteration", "flow_time", "loss", "sharpness_hessian"),
        *("sharpness_gauss_newton", "sharpness_residual", "m_norm2", "overlap"),
    ],
    "runs": [name for name in RUN_COLUMNS if name != "changed"],  # version 0.1 has no such column
    "trajectories": [*IDENTITY, *TRAJECTORY],
    "dice-parameters": PARAMETERS,
}
# As the configuration has them, see `workflow.schema`: they name folders and figures.
EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
REMEDY = (
    "Get the folder anew or, if its tables alone are of an earlier version, make them anew with "
    "eosflow evidence keep."
)


class Contents(Record):
    """evidence.json: the files kept, the programs that made them, the runs they are from."""

    files: tuple[Listed, ...]
    runs: dict[str, Any]
    made: dict[str, Any]

    @property
    def names(self) -> set[str]:
        """The kept files."""
        return {entry.file for entry in self.files}


def verified(folder: Path, needed: Iterable[str] = NEEDED) -> Contents:
    """What is kept, after a comparison of each file with its checksum.

    Raises: UserError naming a file that is missing or damaged.
    """
    try:
        contents = Contents.read(folder / MANIFEST)
    except FileNotFoundError:
        raise UserError(f"{folder / MANIFEST} is missing: no evidence is kept there.") from None
    except ValueError as error:
        raise UserError(f"{folder / MANIFEST} is damaged: {error}. {REMEDY}") from None
    if missing := set(needed) - contents.names:
        raise UserError(f"{folder / min(missing)} is missing. {REMEDY}")
    tables_apart = set(OWN_TABLES).difference(needed)
    for entry in contents.files:
        if entry.file not in tables_apart and (why := entry.wrong(folder, deep=True)):
            how = why if why == "missing" else f"damaged ({why})"
            raise UserError(f"{folder / entry.file} is {how}. {REMEDY}")
    return contents


def read_frame(path: Path) -> pd.DataFrame:
    """A kept frame, which anyone may have written.

    Raises: UserError if it is none, unpacks to too much, lacks a column, or holds what is no name
    of an experiment.
    """
    with foreign(lambda why: UserError(f"{path} is damaged: {why}. {REMEDY}")):
        footer = parquet.read_metadata(path)
        if footer.num_rows * footer.num_columns * 8 > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES} bytes")
        frame = pd.read_parquet(path)
        if missing := [name for name in COLUMNS[path.stem] if name not in frame]:
            raise ValueError(f"it has no column {', '.join(missing)}")
        for name in frame.get("experiment", pd.Series(dtype=str)).unique():
            if not (isinstance(name, str) and EXPERIMENT.fullmatch(name)):
                raise ValueError(f"{name!r:.100} is not the name of an experiment")
    return frame


def refuse_others(folder: Path, own: set[str]) -> None:
    """Raise UserError if a folder holds, or is, a file that is not to be replaced."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder, or one that does not exist yet.")
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in own:
            raise UserError(
                f"{folder} holds other files, such as {path.relative_to(folder)}. Nothing was "
                "written: name an empty folder, or one that does not exist yet."
            )
