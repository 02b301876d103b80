"""From the entry of a figure to a drawing and its files: behind `figures.draw` and `save`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import style
from eosflow.results.figures import KINDS, Drawn, Entry, title_of
from eosflow.results.figures.curves import AXES_OF_TIME
from eosflow.results.run_summaries import IDENTITY, transient
from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing
from eosflow.studies import Study

PNG_DPI = 180


def draw(
    entry: Drawn,
    decomposition: pd.DataFrame,
    runs: pd.DataFrame,
    data: Path | str | None,
    against: str,
) -> Figure:
    """See `eosflow.results.figures.draw`."""
    if against not in AXES_OF_TIME:
        raise UserError(
            f"Curves cannot be drawn against {against!r}; choose one of {', '.join(AXES_OF_TIME)}."
        )
    with style.applied():
        if entry.data is not None and data is None:
            return style.notice(entry.title, "What it shows has not been made.")
        if isinstance(entry, Study):
            return entry.draw(str(data))
        function = _function(entry.kind)
        if entry.data is not None:
            return function(data)
        if entry.experiment is None:
            return function(decomposition, runs, entry.title)
        frame = _of_experiment(decomposition, runs, entry.experiment)
        if reason := _nothing_to_show(entry, entry.experiment, frame, runs):
            return style.notice(entry.title, reason)
        return function(frame, entry.title, against)


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


def _function(kind: str) -> Callable[..., Figure]:
    module, name = KINDS[kind].function.split(":")
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
    """See `eosflow.results.figures.save`."""
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
