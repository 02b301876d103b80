"""Contact sheets: what the examples of a subset look like, class by class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eosflow.datasets.catalog import CATALOG
from eosflow.datasets.subsets import load_subset
from eosflow.results.figures import style
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json

COLUMNS = 10
# Okabe and Ito's green beside the two that the other figures use.
CLASS_COLORS = (style.FIRST, style.SECOND, "#009e73")
SAMPLES_PER_SECOND = 128  # of AtrialFibrillation
PHRASES_PER_CLASS = 5

Examples = list[NDArray[np.float64]]  # for each class, the first few inputs (k, D)


def sheet(subset: Path | str) -> Figure:
    """The contact sheet of any dataset's subset file; its record lies beside it.

    Images in a grid, ECG traces coloured by class, or phrases with labels and lengths.
    """
    subset = Path(subset)
    record = read_json(subset.with_suffix(".json"))
    dataset, names = record["dataset"], list(record["class_counts"])
    title = f"{CATALOG[dataset].title}: {len(names)} classes, subset {record['subset_seed']}"
    if dataset == "sst":
        return _phrases(record["texts"], names, title)
    if dataset == "atrialfibrillation":
        return _traces(_examples(subset, record["size"], len(names), 4), names, title)
    rows = _examples(subset, record["size"], len(names), COLUMNS)
    if dataset == "cifar10":
        # stored plane by plane, (3, 32, 32); drawn with the colours last
        images = [np.moveaxis(row.reshape(-1, 3, 32, 32), 1, -1) for row in rows]
        return _images(images, names, title)
    return dice_examples(subset)


def dice_examples(subset: Path | str) -> Figure:
    """Ten Dice images of each class, one row a class, from a subset file (Figure 5)."""
    names = CATALOG["dice"].class_names
    record = read_json(Path(subset).with_suffix(".json"))
    rows = _examples(Path(subset), record["size"], len(names), COLUMNS)
    size = int(record["settings"]["image_size"])
    images = [row.reshape(-1, size, size) for row in rows]
    return _images(images, names, "Dice: examples of the six classes")


def _examples(subset: Path, size: int, classes: int, count: int) -> Examples:
    inputs, labels = load_subset(subset, size)
    return [inputs[labels == label][:count] for label in range(classes)]


def _images(rows: Sequence[NDArray[np.float64]], names: Sequence[str], title: str) -> Figure:
    """One row of images (k, height, width[, 3]) a class, nothing resampled or rescaled."""
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


def _traces(rows: Examples, names: Sequence[str], title: str) -> Figure:
    """One row of ECG windows a class; both channels of a window in one panel."""
    columns = max(1, *(len(row) for row in rows))
    figure = Figure(figsize=(style.WIDTH, 0.5 + 1.1 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for axes_row, windows, name, color in zip(grid, rows, names, CLASS_COLORS, strict=True):
        for axes, window in zip(axes_row, windows, strict=False):
            channels = window.reshape(2, -1)
            seconds = np.arange(channels.shape[1]) / SAMPLES_PER_SECOND
            axes.plot(seconds, channels[0], color=color, linewidth=0.9)
            axes.plot(seconds, channels[1], color=color, linewidth=0.9, alpha=0.45)
        axes_row[0].set_ylabel(f"class {name}", color=color)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    figure.suptitle(
        f"{title} (channel 1 strong, channel 2 pale; values as published)",
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
