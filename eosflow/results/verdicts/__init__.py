"""What the sources of the studies say, each statement with its verdict, from the study's table."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.results.verdicts import (
    edge_of_stability,
    escaping,
    instabilities,
    optimizer_edges,
    schedules,
    sgd_grid,
    subspaces,
)

# By the names of the studies that are judged; each gives the columns of `inequalities`.
JUDGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "edge-of-stability": edge_of_stability.judge,
    "edge-cifar10": edge_of_stability.judge,
    "sgd-grid": sgd_grid.judge,
    "instabilities": instabilities.judge,
    "optimizer-edges": optimizer_edges.judge,
    "schedules": schedules.judge,
    "escaping": escaping.judge,
    "subspaces": subspaces.judge,
}
