"""The studies. A further one is a folder here and a line below.

Each makes one table, of a fixed problem or of runs of the experiments that name it with
`study`; see `eosflow.studies.base.Study` for what its folder holds. Importing this package costs
the standard library alone.
"""

from __future__ import annotations

import importlib

from eosflow.studies.base import Study as Study

_FOLDERS = (
    "edge_of_stability",
    "central_flow",
    "central_flow_cifar10",
    "central_flow_example",
    "stochastic_edge",
    "optimizer_edges",
    "schedules",
    "instabilities",
    "subspaces",
    "escaping",
    "sgd_grid",
    "nudged_sgd",
    "minibatches",
    "edge_cifar10",
    "spectra",
    "spectral_density",
    "effective_parameters",
    "generalized_prediction_error",
    "sam_edge",
    "optimizer_ends",
    "transient",
    "work_precision",
    "work_precision_full_width",
)
_ALL: list[Study] = [importlib.import_module(f"{__name__}.{name}").STUDY for name in _FOLDERS]

STUDIES: dict[str, Study] = {study.name: study for study in _ALL}
JUDGED = tuple(name for name, study in STUDIES.items() if study.judged)
OF_RUNS = tuple(name for name, study in STUDIES.items() if study.of_runs)
