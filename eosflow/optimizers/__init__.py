"""Optimizers as pure functions of their state, and the one loop that runs them.

To add one: a module with a frozen dataclass as in `eosflow.optimizers.base`, and a line here.
Standard library alone: torch is imported when an optimizer is used.
"""

from __future__ import annotations

from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.central_flow import (
    CentralFlow,
    CentralFlowRMSprop,
    CentralFlowScalarRMSprop,
)
from eosflow.optimizers.flow import ExplicitEuler, ExponentialEuler, ExponentialHeun, RungeKutta4
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.preconditioned import Adam, RMSprop
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.optimizers.sharpness import (
    SAM,
    SWA,
    AdamSAM,
    AdamTracer,
    SGDTracer,
    SharpestNoise,
    TracePenalty,
)
from eosflow.optimizers.subspace import BulkSGD, DominantSGD, NudgedSGD

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.name: kind
    for kind in (
        ExponentialEuler,
        ExponentialHeun,
        ExponentialRosenbrock,
        ExplicitEuler,
        RungeKutta4,
        GradientDescent,
        Adam,
        RMSprop,
        NudgedSGD,
        DominantSGD,
        BulkSGD,
        SAM,
        AdamSAM,
        SGDTracer,
        AdamTracer,
        SWA,
        TracePenalty,
        SharpestNoise,
        CentralFlow,
        CentralFlowScalarRMSprop,
        CentralFlowRMSprop,
    )
}
