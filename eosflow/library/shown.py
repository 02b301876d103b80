"""The estimated time of a computation, and the progress of a search, on stderr."""

from __future__ import annotations

import sys
from typing import Any, Self

import torch
from torch import Tensor
from tqdm import tqdm

from eosflow.storage.progress import count_progress

# A product takes about so many times the time of a gradient, in one precision.
GRADIENTS = 2.5


def announce(title: str, products: int, gradient: float, precision: torch.dtype) -> None:
    """Say what so many products will take, from the seconds of a gradient in float64.

    A rough number: the work per product is that of two to three gradients.
    """
    product = GRADIENTS * gradient * (precision.itemsize / torch.float64.itemsize)
    time = tqdm.format_interval(products * product)
    words = f"{title}: some {products} products of about {product:.2g} s, {time} in all"
    tqdm.write(words, file=sys.stderr)


class Shown:
    """A counter of products, with λ₁ and how many pairs have converged; silent where it is off."""

    def __init__(self, title: str, tolerance: float, on: bool) -> None:
        self._tolerance = tolerance
        self._bar = count_progress(title, None, " products") if on else None
        self._before = self._last = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def seen(self, values: Tensor, residuals: Tensor, products: int) -> None:
        """Show what is found so far, after so many products of this search."""
        if self._bar is None:
            return
        if products < self._last:  # another search has begun
            self._before += self._last
        self._last = products
        done = int((residuals <= self._tolerance * values.abs()).sum())
        words = f"λ {values[0].item():.6g}, {done} of {len(values)} converged"
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update(self._before + products - self._bar.n)
