"""What the sources of the studies say, each statement with its verdict, from the study's table."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.results.verdicts import edge_of_stability, escaping, subspaces

# By the names of the studies that are judged; each gives the columns of `inequalities`.
JUDGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "edge-of-stability": edge_of_stability.judge,
    "escaping": escaping.judge,
    "subspaces": subspaces.judge,
}
