"""Pictures of what was measured: matplotlib axes in, axes out.

Each function takes a run of `eosflow.follow`, an `eosflow.Monitor`, or one of their frames, also
one that was read back from a file, and draws on the axes that it is given or on new ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from eosflow.optimizers.gradient import GradientDescent
from eosflow.spectra.density import Spectrum
from eosflow.storage.errors import UserError

try:
    from matplotlib import pyplot
    from matplotlib.axes import Axes
except ModuleNotFoundError as error:
    raise UserError(
        "eosflow.plot needs matplotlib: pip install 'eosflow[report]', or pip install matplotlib."
    ) from error

# Okabe and Ito's blue and vermilion.
MEASURED, EDGE = "#0072b2", "#d55e00"
# Points of a density's grid, and its width relative to the range of the nodes.
GRID, WIDTH = 1000, 0.004
# How far below its peak a density is drawn.
DEPTH = 1e-6


def sharpness(source: Any, axes: Axes | None = None) -> Axes:
    """λ₁ over training, and the edge of its stability on a quadratic if known.

    With a preconditioner P the eigenvalue is that of P^(−½)𝓗P^(−½). Without an optimizer, or with
    one of unknown edge, only λ₁(𝓗).
    """
    axes = axes or _new()
    frame, edge = _frame(source, "top-eigenvalues"), _edge(source)
    x = _place(axes, source, frame)
    drawn, label = frame["eigenvalue_1"], r"$\lambda_1(\mathcal{H})$"
    if "preconditioned_sharpness" in frame:
        shifted = frame["preconditioned_sharpness"]
        if not np.allclose(shifted, drawn, rtol=1e-9, equal_nan=True):
            drawn, label = shifted, r"$\lambda_1(P^{-1/2}\mathcal{H}P^{-1/2})$"
    axes.plot(x, drawn, color=MEASURED, marker=".", label=label)
    top = drawn[np.isfinite(drawn)].max()
    if edge is not None and len(edge):
        axes.plot(x, edge, color=EDGE, linestyle="--", label="edge of stability")
        top = max(top, edge.min())  # one that a schedule takes to infinity leaves the axes
    axes.set_ylim(min(0, drawn.min() * 1.05), 1.25 * top)
    axes.set_ylabel("sharpness")
    axes.legend(frameon=False)
    return axes


def eigenvalues(source: Any, axes: Axes | None = None) -> Axes:
    """The k largest eigenvalues over training, the largest darkest."""
    axes = axes or _new()
    frame = _frame(source, "top-eigenvalues")
    x = _place(axes, source, frame)
    names = [name for name in frame if str(name).startswith("eigenvalue_")]
    shades = pyplot.get_cmap("Blues_r")(np.linspace(0, 0.7, len(names)))
    for number, (name, shade) in enumerate(zip(names, shades, strict=True), 1):
        axes.plot(x, frame[name], color=shade, marker=".", label=rf"$\lambda_{{{number}}}$")
    axes.set_ylabel("eigenvalue")
    axes.legend(frameon=False, ncols=1 + len(names) // 6)
    return axes


def density(source: Any, axes: Axes | None = None) -> Axes:
    """The density of the eigenvalues at the last measurement: their share per unit of λ.

    Also draws the result of `eosflow.spectral_density`.
    """
    axes = axes or _new()
    if hasattr(source, "grid"):
        grid, height, title = np.asarray(source.grid), np.asarray(source.density), ""
        errors = np.asarray(source.errors)
        ends = (np.maximum(end, DEPTH * height.max()) for end in (height - errors, height + errors))
        axes.fill_between(grid, *ends, color=MEASURED, alpha=0.3, linewidth=0)
    else:
        last = _frame(source, "spectral-density").dropna(subset=["nodes"]).iloc[-1]
        nodes, weights = (
            torch.tensor(last[name], dtype=torch.float64)[None] for name in ("nodes", "weights")
        )
        spectrum = Spectrum(nodes, weights, torch.ones(1))
        points, width = spectrum.grid(GRID, WIDTH)
        grid, height = points.numpy(), spectrum.smoothed(points, width)[0].numpy()
        title = f"after {last['iteration']:.0f} steps"
    axes.plot(grid, np.maximum(height, DEPTH * height.max()), color=MEASURED)
    axes.set(xlabel=r"eigenvalue $\lambda$", ylabel="density", yscale="log", title=title)
    axes.set_ylim(bottom=DEPTH * height.max())
    return axes


def _new() -> Axes:
    axes: Axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")[1]
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _frame(source: Any, name: str) -> pd.DataFrame:
    """The first frame of a measurement's name. Raises: UserError if there is none."""
    if isinstance(source, pd.DataFrame):
        return source
    frames = getattr(source, "frames", None) or getattr(source, "measurements", None)
    if not isinstance(frames, dict):
        raise UserError(
            f"plot: {type(source).__name__} was given; it must be a run of eosflow.follow, an "
            "eosflow.Monitor, or one of their frames."
        )
    found = [frame for key, frame in frames.items() if key.startswith(name) and len(frame)]
    if not found:
        kind = "".join(part.capitalize() for part in name.split("-"))
        raise UserError(f"plot: {name} has not been measured yet: measure=[eosflow.{kind}(...)].")
    frame: pd.DataFrame = found[0]
    return frame


def _edge(source: Any) -> Any:
    """The edge at each look; None if it is not known."""
    frame = _frame(source, "top-eigenvalues")
    if "edge" in frame:
        return frame["edge"]
    optimizer = getattr(source, "optimizer", None)
    if not isinstance(optimizer, GradientDescent) or optimizer.name != GradientDescent.name:
        return None  # that of another is not of λ₁(𝓗) alone
    rates = np.array([optimizer.rate(int(step)) for step in frame["iteration"]])
    with np.errstate(divide="ignore"):
        return optimizer.edge() / rates - optimizer.weight_decay


def _place(axes: Axes, source: Any, frame: pd.DataFrame) -> Any:
    flow = getattr(getattr(source, "optimizer", None), "follows_flow", False)
    axes.set_xlabel("flow time" if flow else "step")
    return frame["flow_time" if flow else "iteration"]
