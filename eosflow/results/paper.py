"""The facts of Lowell & Kastner 2024 that results are compared with. Standard library only.

Its claims are in claims.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Lowell & Kastner 2024, arXiv:2406.00127"

RUNS_PER_SIZE = 16  # four initialisations of each of four subsets


@dataclass(frozen=True)
class Experiment:
    """A row of Tables 1 and 2: the sizes N, and peak A_1 = a·N^b with its R² in log space."""

    title: str
    dataset: str
    criterion: str
    sizes: tuple[int, ...]
    a: float
    b: float
    r_squared: float

    @property
    def key(self) -> tuple[str, str]:
        """What Table 2 names it by."""
        return self.dataset, self.criterion


EXPERIMENTS: dict[str, Experiment] = {
    "dice-ce": Experiment(
        "Dice, cross-entropy",
        "dice",
        "cross_entropy",
        sizes=(468, 937, 1875, 3750, 7500),
        a=0.0017,
        b=0.23,
        r_squared=0.84,
    ),
    "cifar10-ce": Experiment(
        "CIFAR-10, cross-entropy",
        "cifar10",
        "cross_entropy",
        sizes=(390, 781, 1562, 3125, 6250),
        a=0.0004,
        b=0.49,
        r_squared=0.97,
    ),
    "cifar10-mse": Experiment(
        "CIFAR-10, squared error",
        "cifar10",
        "squared_error",
        sizes=(390, 781, 1562, 3125),
        a=0.0004,
        b=0.20,
        r_squared=0.74,
    ),
    "atrialfibrillation-ce": Experiment(
        "AtrialFibrillation, cross-entropy",
        "atrialfibrillation",
        "cross_entropy",
        sizes=(60, 120, 240, 480, 960),
        a=0.0026,
        b=0.45,
        r_squared=0.93,
    ),
    "sst-ce": Experiment(
        "SST, cross-entropy",
        "sst",
        "cross_entropy",
        sizes=(461, 922, 1844, 3689),
        a=0.0001,
        b=0.67,
        r_squared=0.98,
    ),
}
# Half the last digit that Table 2 prints of a and of b.
ROUNDING_A, ROUNDING_B = 0.00005, 0.005

# Table 3 by class; lend counts R's line ends: 0 round, 1 butt, 2 square.
DICE: dict[int, dict[str, tuple[float, float]]] = {
    1: {"x": (-1, 1), "y": (-1, 1), "cex": (0.1, 1)},
    2: {"x": (-1, 1), "y": (-1, 1), "cex": (0.1, 1)},
    3: {"x": (-1, 1), "y": (-1, 1), "lwd": (0.1, 2.5), "lend": (0, 2)},
    4: {"x": (-1, 1), "y": (-1, 1), "lwd": (0.1, 1), "lend": (0, 2)},
    5: {"x": (0.2, 1), "y": (0.2, 1), "cex": (0.1, 0.7), "lwd": (0.1, 1), "lend": (0, 2)},
    6: {
        "x": (-0.9, 0.9),
        "y": (-0.9, 0.9),
        "dx": (0.1, 0.8),
        "dy": (0.1, 0.8),
        "lwd": (0.1, 2.5),
        "lend": (0, 2),
    },
}
