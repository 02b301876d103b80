"""Contact sheets: what the examples of a subset look like, class by class."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eosflow.analysis import style
from eosflow.datasets import DATASETS, DatasetSettings
from eosflow.datasets.base import Pictures, Waveforms
from eosflow.datasets.subset_record import SubsetRecord, damaged
from eosflow.datasets.subsets import load_subset
from eosflow.storage.errors import UserError
from eosflow.storage.settings import make

COLUMNS = 10
# Okabe and Ito's green beside the two that the other figures use.
CLASS_COLORS = (style.FIRST, style.SECOND, "#009e73")
TRACES_PER_CLASS = 4
PHRASES_PER_CLASS = 5

Examples = list[NDArray[np.float64]]  # for each class, the first few inputs (k, D)


def sheet(subset: Path | str) -> Figure:
    """The contact sheet of any dataset's subset file; its record lies beside it.

    Pictures in a grid, curves coloured by class, or phrases with labels and lengths, one row per
    class; a single row if the targets are numbers. How a dataset looks is its `preview`.
    """
    subset = Path(subset)
    record, dataset = _described(subset)
    names = _names(record, dataset)
    classes = f"{len(names)} classes" if names else "numbers to fit"
    title = f"{dataset.described().title}: {classes}, subset {record.subset_seed}"
    return _draw(subset, record, dataset, names, title)


def dice_examples(subset: Path | str) -> Figure:
    """Ten Dice images of each class, one row per class, from a subset file (Figure 5)."""
    subset = Path(subset)
    record, dataset = _described(subset)
    title = "Dice: examples of the six classes"
    return _draw(subset, record, dataset, _names(record, dataset), title)


def _described(subset: Path) -> tuple[SubsetRecord, DatasetSettings]:
    """The record of a subset, and its dataset."""
    record = SubsetRecord.beside(subset)
    if record is None:
        raise damaged(subset.with_suffix(".json"), "it is missing")
    try:
        return record, make(DATASETS, record.kind or record.dataset, record.settings)
    except (KeyError, ValueError) as error:
        raise damaged(subset.with_suffix(".json"), f"it names no dataset: {error}") from None


def _names(record: SubsetRecord, dataset: DatasetSettings) -> list[str]:
    """The classes, none if the targets are numbers; a user's file may be gone by now."""
    if record.targets is not None:
        return []
    return list(record.class_counts or dataset.class_names() or ())


def _draw(
    subset: Path,
    record: SubsetRecord,
    dataset: DatasetSettings,
    names: Sequence[str],
    title: str,
) -> Figure:
    shape = record.shape or dataset.input_shape()
    match dataset.preview(shape):
        case Pictures(picture, limits):
            rows = _examples(subset, record.size, len(names), COLUMNS)
            low, high = limits or _limits(rows)
            scaled = [(row.reshape(-1, *picture) - low) / (high - low) for row in rows]
            # stored plane by plane; drawn with the colours last, and grey without that axis
            images = [np.moveaxis(row, 1, -1) for row in scaled]
            return _images(
                [image[..., 0] if picture[0] == 1 else image for image in images],
                names or [""],
                title,
            )
        case Waveforms(wave, rate):
            rows = _examples(subset, record.size, len(names), TRACES_PER_CLASS)
            return _traces([row.reshape(-1, *wave) for row in rows], rate, names or [""], title)
        case _:
            return _phrases(record.texts, names, title)


def _examples(subset: Path, size: int, classes: int, count: int) -> Examples:
    inputs, labels = load_subset(subset, size)
    if not classes:
        return [inputs[:count]]
    return [inputs[labels == label][:count] for label in range(classes)]


def _limits(rows: Examples) -> tuple[float, float]:
    """The least and the largest value that is shown."""
    values = np.concatenate([row.reshape(-1) for row in rows])
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def _images(rows: Sequence[NDArray[np.float64]], names: Sequence[str], title: str) -> Figure:
    """One row of images (k, height, width[, 3]) per class, nothing resampled or rescaled."""
    figure = Figure(figsize=(style.WIDTH, 0.35 + 0.62 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for axes_row, images, name in zip(grid, rows, names, strict=True):
        for axes in axes_row[len(images) :]:
            axes.set_axis_off()
        for axes, image in zip(axes_row, images, strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for axes in axes_row:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.5)
        label = axes_row[0]
        label.set_axis_on()
        label.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
    figure.suptitle(title, x=0.01, ha="left", color=style.INK, fontweight="bold")
    return figure


def _traces(rows: Examples, rate: float, names: Sequence[str], title: str) -> Figure:
    """One row of curves (k, channels, samples) per class; an example's channels share a panel."""
    columns = max(1, *(len(row) for row in rows))
    figure = Figure(figsize=(style.WIDTH, 0.5 + 1.1 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    colors = itertools.cycle(CLASS_COLORS)
    for axes_row, windows, name, color in zip(grid, rows, names, colors, strict=False):
        for axes, channels in zip(axes_row, windows, strict=False):
            seconds = np.arange(channels.shape[1]) / rate
            for number, channel in enumerate(channels):
                pale = {} if number == 0 else {"alpha": 0.45}
                axes.plot(seconds, channel, color=color, linewidth=0.9, **pale)
        axes_row[0].set_ylabel(f"class {name}" if name else "", color=color)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    figure.suptitle(
        f"{title} (channel 1 strong, the others pale; values as stored)",
        x=0.01,
        ha="left",
        color=style.INK,
        fontweight="bold",
    )
    return figure


def _phrases(texts: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> Figure:
    """A table of phrases: label, number of words, text."""
    lines = [
        (name, len(text["text"].split(" ")), textwrap.shorten(text["text"], 88, placeholder=" …"))
        for label, name in enumerate(names)
        for text in [text for text in texts if text["label"] == label][:PHRASES_PER_CLASS]
    ]
    if not lines:
        raise UserError("the subset's record holds no phrases; make it again with a larger size")
    figure = Figure(figsize=(style.WIDTH, 0.6 + 0.19 * len(lines)))
    height = figure.get_figheight()
    figure.text(0.01, 1 - 0.15 / height, title, va="top", fontweight="bold", color=style.INK)
    previous = ""
    for number, (name, words, text) in enumerate([("label", "words", "phrase"), *lines]):
        y = 1 - (0.45 + 0.19 * number) / height
        color = style.MUTED if number == 0 else style.INK
        figure.text(0.01, y, name if name != previous else "", color=color)
        figure.text(0.19, y, str(words), color=color, ha="right")
        figure.text(0.21, y, text, color=color, parse_math=False)
        previous = name
    return figure
