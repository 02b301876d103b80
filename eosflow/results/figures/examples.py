"""Figure 5: what the images of Dice look like, class by class."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from eosflow.analysis import style
from eosflow.datasets import DATASETS
from eosflow.datasets.base import SubsetRecord, damaged
from eosflow.datasets.dice import SCALINGS, Dice
from eosflow.datasets.subsets import load_subset
from eosflow.storage.settings import make

COLUMNS = 10


def dice_examples(subset: Path | str) -> Figure:
    """Ten Dice images of each class, one row per class, from a subset file (Figure 5).

    Raises: UserError if its record, which lies beside it, cannot be used.
    """
    subset = Path(subset)
    size, dice = _described(subset)
    inputs, labels = load_subset(subset, size)
    low, high = SCALINGS[dice.scaling] or (inputs.min(), inputs.max())
    shape = dice.channels, dice.image_size, dice.image_size
    images = ((inputs - low) / (high - low)).reshape(-1, *shape)
    names = dice.class_names()
    figure = Figure(figsize=(style.WIDTH, 0.35 + 0.62 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), COLUMNS, squeeze=False)
    for label, (name, row) in enumerate(zip(names, grid, strict=True)):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.5)
        for axes, image in zip(row, images[labels == label], strict=False):
            # Stored plane by plane; drawn with the colours last, nothing resampled or rescaled.
            pixels = image[0] if dice.channels == 1 else image.transpose(1, 2, 0)
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    title = "Dice: examples of the six classes"
    figure.suptitle(title, x=0.01, ha="left", color=style.INK, fontweight="bold")
    return figure


def _described(subset: Path) -> tuple[int, Dice]:
    """How many rows a subset has, and its dataset."""
    path = subset.with_suffix(".json")
    record = SubsetRecord.beside(subset)
    if record is None:
        raise damaged(path, "it is missing")
    try:
        dataset = make(DATASETS, record.kind or record.dataset, record.settings)
    except (KeyError, ValueError) as error:
        raise damaged(path, f"it names no dataset: {error}") from None
    if not isinstance(dataset, Dice):
        raise damaged(path, "it is not of Dice")
    return record.size, dataset
