"""Verdicts and drawings of the studies, from tables that were made up."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from eosflow.analysis import claims
from eosflow.studies import STUDIES
from eosflow.studies.runs import StudyRun

# Of either kind of claim, of a source's and of our own.
FOR = {claims.HOLDS, claims.AS_EXPECTED}
AGAINST = {claims.CONTRADICTED, claims.UNEXPECTED}
FEW = {claims.NOT_ENOUGH}


def judged(study: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on a table, by the name of the claim."""
    return STUDIES[study].judge(frame).set_index("claim")


def drawn(study: str, frame: pd.DataFrame) -> Any:
    """The figure of a table, as it is read from its CSV."""
    return STUDIES[study].draw(io.StringIO(frame.to_csv(index=False)))


def study_run(
    optimizer: dict[str, Any],
    measured: dict[str, pd.DataFrame],
    seed: int = 0,
    stopped: str = "max_iterations",
    trajectory: pd.DataFrame | None = None,
    experiment: str = "made",
    **spec: Any,
) -> StudyRun:
    """A run of a study that was made up: 100 photographs in batches of 25."""
    spec = {
        "experiment": experiment, "dataset": {"name": "cifar10"}, "network": {"name": "mlp"},
        "n": 100, "init_seed": seed, "subset_seed": 0, "optimizer": optimizer,
        "batch": {"name": "shuffled", "size": 25}, **spec,
    }  # fmt: skip
    course = pd.DataFrame() if trajectory is None else trajectory
    return StudyRun(spec, stopped, course, 1.2, measured)
