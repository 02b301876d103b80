"""eosflow on a network of your own, without the workflow; its names are those of `eosflow`."""

from __future__ import annotations

from eosflow.library.density import Density, spectral_density, trace
from eosflow.library.factors import Sharpness, decompose
from eosflow.library.following import SGD, Run, follow
from eosflow.library.monitor import Monitor
from eosflow.library.problem import Problem
from eosflow.library.spectrum import EigenPairs, eigenpairs
from eosflow.storage.errors import UserError

__all__ = [
    "SGD",
    "Density",
    "EigenPairs",
    "Monitor",
    "Problem",
    "Run",
    "Sharpness",
    "UserError",
    "decompose",
    "eigenpairs",
    "follow",
    "spectral_density",
    "trace",
]
