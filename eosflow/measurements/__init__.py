"""Measurements at a point in parameter space.

To add a measurement: a module with a frozen dataclass as in `eosflow.measurements.base`, and a line
here. Standard library alone: torch is imported when something is measured.
"""

from __future__ import annotations

from typing import Any

from eosflow.measurements.accuracy import Accuracy
from eosflow.measurements.alpha_scan import AlphaScan
from eosflow.measurements.batch_sharpness import BatchSharpness
from eosflow.measurements.chain_factors import ChainFactors
from eosflow.measurements.critical_sharpness import CriticalSharpness
from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.distance import Distance
from eosflow.measurements.effective_parameters import EffectiveParameters
from eosflow.measurements.gradient_alignment import GradientAlignment
from eosflow.measurements.layer_sharpness import LayerSharpness
from eosflow.measurements.minibatch_sharpness import MinibatchSharpness
from eosflow.measurements.spectral_density import SpectralDensity
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.measurements.trace import Trace

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
