"""The table of what minibatch gradients do in the sharpest directions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from eosflow.studies.runs import StudyRun, by_snapshot

NEEDED = ("gradient-alignment", "alpha-scan", "minibatch-sharpness")


def table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """`by_snapshot` of runs measured by the three of `NEEDED`. Raises: UserError without one."""
    for run in runs:
        for name in NEEDED:
            run.measurement(name)
    return by_snapshot(runs)
