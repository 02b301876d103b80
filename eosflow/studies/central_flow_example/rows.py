"""One seed and learning rate of the study `central-flow`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from eosflow.studies.central_flow.rows import CHEB, study
from eosflow.studies.testbeds import SEEDS, cheb


def rows() -> Iterator[dict[str, Any]]:
    """Its rows, over a shorter time."""
    one = dataclasses.replace(CHEB, seeds=SEEDS[:1], rates=(0.4,), end=600.0, noise=0.0)
    return study(one, cheb())
