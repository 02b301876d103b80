"""The work–precision diagram at the paper's width: a block product costs twenty times as much."""

from __future__ import annotations

import dataclasses
from typing import Any

from eosflow.networks.mlp import MLPSettings
from eosflow.studies.testbeds import DICE, dice
from eosflow.studies.work_precision.rows import FLOW_TIMES, study

PROBLEM = dataclasses.replace(DICE, experiment="work-precision-full-width", network=MLPSettings())


def rows() -> list[dict[str, Any]]:
    """The rows of the study, without the smallest steps of three schemes."""
    return study(PROBLEM, dice(PROBLEM), FLOW_TIMES[:1], coarse=True)
