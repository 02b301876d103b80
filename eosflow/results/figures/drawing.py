"""From the entry of a figure to a drawing and its files."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import style
from eosflow.results.figures import KINDS, NAMES, Drawn, Entry, curves, title_of
from eosflow.results.figures.curves import AXES_OF_TIME
from eosflow.results.run_summaries import IDENTITY, transient
from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing
from eosflow.studies import Study

PNG_DPI = 180


def draw(
    figure: str | Drawn,
    decomposition: pd.DataFrame,
    runs: pd.DataFrame,
    data: Path | str | None = None,
    against: str = "iteration",
) -> Figure:
    """Draw one figure: a pure function of the tidy frames, or of the file `data` alone.

    `figure` is a name such as `figure04` or `power-law`, or one of `entries`; `data` is what its
    entry says, a Dice subset or a study's table; `against`, the horizontal axis of the curves, is
    `iteration` or `flow_time`. A figure with nothing to show says why.

    Raises: UserError for a name or an axis that does not exist.
    """
    if isinstance(figure, str) and figure not in NAMES:
        raise UserError(f"There is no figure {figure!r}; there are {', '.join(NAMES)}.")
    if against not in AXES_OF_TIME:
        raise UserError(
            f"Curves cannot be drawn against {against!r}; choose one of {', '.join(AXES_OF_TIME)}."
        )
    entry = NAMES[figure] if isinstance(figure, str) else figure
    with style.applied():
        if entry.data is not None and data is None:
            return style.notice(entry.title, "What it shows has not been made.")
        if isinstance(entry, Study):
            return entry.draw(str(data))
        if entry.data is not None:
            return _function(entry)(data)
        if entry.experiment is None:
            return _function(entry)(decomposition, runs, entry.title)
        frame = _of_experiment(decomposition, runs, entry.experiment)
        if reason := _nothing_to_show(entry, entry.experiment, frame, runs):
            return style.notice(entry.title, reason)
        return curves.draw(entry.kind, frame, entry.title, against)


def _nothing_to_show(entry: Entry, experiment: str, frame: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Why the curves of an experiment cannot be drawn; empty if they can."""
    title = title_of(experiment)
    if experiment not in set(runs["experiment"]):
        return (
            f"No runs of {title} have finished.\n"
            f"Add {experiment} to `select` in the configuration to run them."
        )
    if frame.empty:
        return f"No run of {title} has a decomposition after the transient."
    if missing := [name for name in KINDS[entry.kind].needs if name not in frame]:
        return (
            f"The decomposition of {title} has no {', '.join(missing)}:\n"
            "only a network that is a chain of layers has all factors."
        )
    return ""


def _function(entry: Entry) -> Callable[..., Figure]:
    module, name = KINDS[entry.kind].function.split(":")
    function: Callable[..., Figure] = getattr(importlib.import_module(module), name)
    return function


def _of_experiment(
    decomposition: pd.DataFrame, runs: pd.DataFrame, experiment: str
) -> pd.DataFrame:
    """Snapshots of one experiment with how their run stopped; only runs that left the transient.

    Columns that its network does not have, but that of another experiment, are left out.
    """
    chosen = decomposition[decomposition["experiment"] == experiment]
    last = chosen.groupby(IDENTITY)["iteration"].transform("max")
    chosen = chosen[last >= transient(chosen)]
    chosen = chosen.dropna(axis="columns", how="all") if len(chosen) else chosen
    return chosen.merge(runs[[*IDENTITY, "stopped"]], on=IDENTITY, how="left")


def save(figure: Figure, pdf: Path | str, png: Path | str) -> None:
    """Write a figure as PDF (fonts embedded) and PNG: the same bytes for the same drawing."""
    # Without dates and program versions the same drawing gives the same file.
    without: dict[str, Any] = {"CreationDate": None, "Producer": None, "Creator": None}
    title = figure.get_suptitle()
    with style.applied():
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})
        figure.suptitle("")  # a PDF goes into a text, whose caption has the title
        with replacing(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata=without)
        figure.suptitle(title)
