"""From a figure's name to a drawing and its files; everything behind `figures.draw` and `save`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from eosflow.results.courses import IDENTITY, TRANSIENT
from eosflow.results.figures import EXPERIMENTS, KINDS, NAMES, style
from eosflow.results.figures.curves import AXES_OF_TIME
from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing

PNG_DPI = 180


def draw(
    name: str,
    decomposition: pd.DataFrame,
    runs: pd.DataFrame,
    data: Path | str | None,
    against: str,
) -> Figure:
    """See `eosflow.results.figures.draw`."""
    if name not in NAMES:
        raise UserError(
            f"There is no figure {name!r}. There are figure01 to figure42 and "
            f"{', '.join(extra for extra in NAMES if not extra.startswith('figure'))}."
        )
    if against not in AXES_OF_TIME:
        raise UserError(
            f"Curves cannot be drawn against {against!r}; choose one of {', '.join(AXES_OF_TIME)}."
        )
    entry = NAMES[name]
    if entry.data is not None and data is None:
        with style.applied():
            return style.notice(entry.title, "What it shows has not been made.")
    function = _function(entry.kind)
    with style.applied():
        if entry.data is not None:
            return function(data)
        if entry.experiment is None:
            if runs.empty:
                return style.notice(entry.title, "No runs have finished.")
            return function(decomposition, runs, entry.title)
        frame = _of_experiment(decomposition, runs, entry.experiment)
        if frame.empty:
            return style.notice(
                entry.title,
                f"No runs of {EXPERIMENTS[entry.experiment]} have finished.\n"
                f"Add {entry.experiment} to `select` in the configuration to run them.",
            )
        return function(frame, entry.title, against)


def _function(kind: str) -> Callable[..., Figure]:
    module, name = KINDS[kind].function.split(":")
    function: Callable[..., Figure] = getattr(importlib.import_module(module), name)
    return function


def _of_experiment(
    decomposition: pd.DataFrame, runs: pd.DataFrame, experiment: str
) -> pd.DataFrame:
    """Snapshots of one experiment with how their run stopped; only runs that left the transient."""
    chosen = decomposition[decomposition["experiment"] == experiment]
    chosen = chosen[chosen.groupby(IDENTITY)["iteration"].transform("max") >= TRANSIENT]
    return chosen.merge(runs[[*IDENTITY, "stopped"]], on=IDENTITY, how="left")


def save(figure: Figure, pdf: Path | str, png: Path | str) -> None:
    """See `eosflow.results.figures.save`."""
    # Without dates and program versions the same drawing gives the same file.
    without: dict[str, Any] = {"CreationDate": None, "Producer": None, "Creator": None}
    with style.applied():
        with replacing(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata=without)
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})
