"""Verdicts and drawings of the studies, from tables that were made up."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from eosflow.analysis import claims
from eosflow.studies import STUDIES

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
