"""The drawing of where optimizers end, from the study's table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eosflow.analysis import style
from eosflow.studies.optimizer_ends.table import EARLY, MEDIAN, QUARTILES

HEIGHT = 3.9  # inches
PANEL = (2.9, 2.9)  # inches, roughly: labels are placed before the layout is known
LETTER, LINE = 0.058, 0.12  # inches, of the labels' font
FONT = 6.5
MARKERS = "os^Dv"  # of the problems
LOWER, _, UPPER = QUARTILES


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy on held-out examples against that on the training examples, and against λ₁(𝓗).

    frame: of `eosflow.studies.optimizer_ends.table.table`. Marks are medians over the seeds,
    bars their quartiles, each with the name of its optimizer; each problem has its own mark.
    """
    figure, (training, sharpness), _ = style.panels(2, 2, title, share_x=False)
    figure.set_figheight(HEIGHT)
    for axes, column in ((training, "accuracy"), (sharpness, "sharpness")):
        known = frame[frame["statistic"].isin(QUARTILES)].copy()
        known[["accuracy", "held_out_accuracy"]] *= 100
        if column == "sharpness":
            axes.set_xscale("log")
        _marks(axes, known, column)
        axes.set_ylabel("accuracy on held-out examples (%)")
    training.set_xlabel("accuracy on the training examples (%)")
    sharpness.set_xlabel(r"sharpness $\lambda_1(\mathcal{H})$")
    problems = list(frame.loc[frame["statistic"] == MEDIAN, "problem"].unique())
    for axes in (training, sharpness):
        axes.set_title(problems[0] if len(problems) == 1 else "")
    style.log_time_axis(sharpness)
    return figure


def _marks(axes: Axes, known: pd.DataFrame, column: str) -> None:
    """A mark, its quartiles and its name for each optimizer, the mark by the problem."""
    by = {
        statistic: part.set_index(["problem", "method"])
        for statistic, part in known.groupby("statistic")
    }
    middle = by[MEDIAN].dropna(subset=[column, "held_out_accuracy"])
    if middle.empty:
        style.say(axes, "no optimizer has run")
        return
    marks = [(str(problem), str(method)) for problem, method in middle.index]
    problems = list(dict.fromkeys(problem for problem, _ in marks))
    names, bars = [method for _, method in marks], []
    for place, (_, row) in zip(marks, middle.iterrows(), strict=True):
        problem, method = place
        marker = MARKERS[problems.index(problem) % len(MARKERS)]
        color = style.SECOND if method == EARLY else style.FIRST
        low, high = (by[name].loc[[place]].iloc[0] for name in (LOWER, UPPER))
        x, y = row[column], row["held_out_accuracy"]
        axes.plot([low[column], high[column]], [y, y], color=color, lw=0.8, alpha=0.5)
        heights = [low["held_out_accuracy"], high["held_out_accuracy"]]
        axes.plot([x, x], heights, color=color, lw=0.8, alpha=0.5)
        axes.plot(x, y, marker, color=color, ms=4)
        bars += [[(low[column], y), (high[column], y)], [(x, height) for height in heights]]
    if len(problems) > 1:
        for problem, marker in zip(problems, itertools.cycle(MARKERS)):
            axes.plot([], [], marker, color=style.FIRST, ms=4, label=problem)
        axes.legend(fontsize=FONT)
    axes.margins(0.24, 0.1)
    axes.autoscale_view()  # else the limits are those of before
    if column == "accuracy":
        axes.set_xlim(right=min(100, axes.get_xlim()[1]))
    points = middle[[column, "held_out_accuracy"]].to_numpy(dtype=float)
    _labels(axes, points, names, np.array(bars, dtype=float))


def _labels(
    axes: Axes, points: NDArray[np.float64], names: Sequence[str], bars: NDArray[np.float64]
) -> None:
    """Write each name beside its mark (n, 2), where it covers least of the others and of the bars.

    bars: (m, 2, 2), the two ends of each.
    """
    to_axes = axes.transScale + axes.transLimits
    marks = to_axes.transform(points) * PANEL  # inches
    taken = [np.array([x - 0.04, y - 0.04, x + 0.04, y + 0.04]) for x, y in marks]
    crossed = []
    for ends in bars:
        first, second = to_axes.transform(ends) * PANEL
        low, high = np.minimum(first, second) - 0.01, np.maximum(first, second) + 0.01
        crossed.append(np.concatenate([low, high]))

    def cost(candidate: tuple[NDArray[np.float64], int, float]) -> float:
        box, _, up = candidate
        hidden = sum(_overlap(box, other) for other in taken)
        outside = np.maximum(0, -box[:2]).sum() + np.maximum(0, box[2:] - PANEL).sum()
        thin = sum(_overlap(box, bar) for bar in crossed)
        return float(hidden + 0.2 * thin + 5 * outside + 0.02 * abs(up))

    for (x, y), point, name in zip(marks, points, names, strict=True):
        width = LETTER * len(name)
        boxes = [
            (_box(x, y, width, side, up), side, up)
            for up in (0.0, 0.1, -0.1, 0.2, -0.2)
            for side in (1, -1, 0)
            if side or abs(up) > 0.1
        ]
        box, side, up = min(boxes, key=cost)
        taken.append(box)
        axes.annotate(
            name,
            (point[0], point[1]),
            xytext=(side * 5, up * 72),
            textcoords="offset points",
            ha={1: "left", -1: "right", 0: "center"}[side],
            va="center",
            fontsize=FONT,
            color=style.INK,
        )


def _box(x: float, y: float, width: float, side: int, up: float) -> NDArray[np.float64]:
    """The ends of a label in inches: left, bottom, right, top."""
    left = {1: x + 0.07, -1: x - 0.07 - width, 0: x - width / 2}[side]
    return np.array([left, y + up - LINE / 2, left + width, y + up + LINE / 2])


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The area that two boxes share."""
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(np.maximum(0, shared)))
