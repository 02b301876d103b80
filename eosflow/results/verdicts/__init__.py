"""What the sources of the studies say, each statement with its verdict, from the study's table."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.results.verdicts import (
    edge_of_stability,
    effective_parameters,
    escaping,
    generalized_prediction_error,
    instabilities,
    minibatches,
    nudged_sgd,
    optimizer_edges,
    optimizer_ends,
    sam_edge,
    schedules,
    sgd_grid,
    spectral_density,
    subspaces,
)

# By the names of the studies that are judged; each gives the columns of `inequalities`.
JUDGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "edge-of-stability": edge_of_stability.judge,
    "edge-cifar10": edge_of_stability.judge,
    "sgd-grid": sgd_grid.judge,
    "optimizer-ends": optimizer_ends.judge,
    "nudged-sgd": nudged_sgd.judge,
    "minibatches": minibatches.judge,
    "instabilities": instabilities.judge,
    "optimizer-edges": optimizer_edges.judge,
    "schedules": schedules.judge,
    "escaping": escaping.judge,
    "subspaces": subspaces.judge,
    "spectral-density": spectral_density.judge,
    "effective-parameters": effective_parameters.judge,
    "generalized-prediction-error": generalized_prediction_error.judge,
    "sam-edge": sam_edge.judge,
}
