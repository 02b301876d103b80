"""Measurements at a point in parameter space.

To add a measurement: a module with a frozen dataclass as in `eosflow.measurements.base`, and a line
here. Standard library alone: torch is imported when something is measured.
"""

from __future__ import annotations

from typing import Any

from eosflow.measurements.accuracy import Accuracy, Distance
from eosflow.measurements.batch_sharpness import BatchSharpness, MinibatchSharpness
from eosflow.measurements.critical_sharpness import CriticalSharpness
from eosflow.measurements.decomposition import ChainFactors, Decomposition
from eosflow.measurements.effective_parameters import EffectiveParameters
from eosflow.measurements.minibatch_gradients import AlphaScan, GradientAlignment
from eosflow.measurements.spectral_density import SpectralDensity, Trace
from eosflow.measurements.top_eigenvalues import LayerSharpness, TopEigenvalues

MEASUREMENTS: dict[str, type[Any]] = {
    kind.name: kind
    for kind in (
        Decomposition,
        TopEigenvalues,
        Accuracy,
        Distance,
        GradientAlignment,
        AlphaScan,
        MinibatchSharpness,
        SpectralDensity,
        EffectiveParameters,
        ChainFactors,
        BatchSharpness,
        CriticalSharpness,
        LayerSharpness,
        Trace,
    )
}
