"""One seed and learning rate of the study `central-flow`."""

from __future__ import annotations

import dataclasses
from typing import Any

from eosflow.studies.central_flow.rows import CHEB, study
from eosflow.studies.testbeds import cheb


def rows() -> list[dict[str, Any]]:
    """Its rows, over a shorter time."""
    return study(dataclasses.replace(CHEB, seeds=(0,), rates=(0.4,), end=600.0, noise=0.0), cheb())
