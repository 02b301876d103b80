"""What a dataset module hands to the subset job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Targets = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Resources:
    """What a dataset may use besides its settings: its archive, a cache folder, a device."""

    archive: Path | None
    cache: Path
    device: str = "auto"


@dataclass(frozen=True)
class Pool:
    """The training split that subsets are drawn from.

    labels: int64 (n,), 0 … C−1, or the numbers to fit, float64 (n,) or (n, C). inputs: row numbers
    (k,) -> stored values (k, D); only the rows asked for are ever made. The run's input is the
    stored value times `scale`. preprocessing: what was done, in words and numbers that JSON can
    hold.
    """

    labels: Targets
    inputs: Callable[[Integers], NDArray[Any]]
    scale: float
    preprocessing: dict[str, Any]
