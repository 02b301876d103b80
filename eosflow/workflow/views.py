"""EXP/nN/RUN: for people and for targets, links to where a run and its measurements really lie.

Made anew from the store at each start, and by the jobs that make a run. A view has manifest.json
and measured.json, which Snakemake goes by, if and only if what they stand for is whole.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from eosflow.runs.names import measured_folder, view_of
from eosflow.runs.whole import CLEANED
from eosflow.storage.errors import UserError
from eosflow.storage.files import readable, set_aside, write_json
from eosflow.workflow.plan import Plan

MANIFEST, MEASURED = "manifest.json", "measured.json"
_FILES = ("run.json", "trajectory.parquet", "snapshots", CLEANED)


def update(plan: Plan, folder: str, trained: bool, measured: bool) -> None:
    """Make the view of one run; `trained` and `measured` say whether it is whole.

    Raises: UserError if links cannot be made.
    """
    home, view = plan.home(folder), Path(plan.results, folder)
    if not (home.exists() or view.exists()):
        return
    links: dict[Path, Path | None] = {view / name: home / name for name in _FILES}
    links[view / MANIFEST] = home / MANIFEST if trained else None
    folders = {name: measured_folder(each) for name, each in plan.measured_of(folder).items()}
    for name, real in folders.items():
        links[view / view_of(name)] = home / real
    try:
        for link, target in links.items():
            _link(link, target if target and target.exists() else None)
        stamp, content = view / MEASURED, {"run": plan.run(folder).key, "measured": folders}
        if not measured:
            stamp.unlink(missing_ok=True)
        elif readable(stamp) != content:
            write_json(stamp, content)
    except OSError as error:
        raise UserError(
            f"The links in {view} cannot be made: {error.strerror}. Choose a results_dir that you "
            "may write to."
        ) from None


def _link(link: Path, target: Path | None) -> None:
    """Make a relative link, or take it away; what else lies there is moved aside."""
    wanted = os.path.relpath(target, link.parent) if target else None
    with contextlib.suppress(OSError):
        if os.readlink(link) == wanted:  # noqa: PTH115  (planning asks for thousands)
            return
    if link.is_symlink():
        link.unlink(missing_ok=True)
    elif link.exists():
        with contextlib.suppress(OSError):
            link.rmdir()  # an empty one that Snakemake has made for a file
        set_aside(link, "no-link")
    if wanted is not None:
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{link.name}.{os.getpid()}.partial")
        temporary.symlink_to(wanted)
        temporary.replace(link)
