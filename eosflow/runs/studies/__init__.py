"""The studies: what beside the runs of the experiments is computed. Standard library only.

Each makes one table: from problems of its own, or from runs of the experiments that name it with
`study`. To add one: a module with a function, here one that gives the rows, or in
`eosflow/results/studies` one that makes the table of runs; a line below; and if wanted a figure in
`eosflow/results/figures` and verdicts on what a source says in `eosflow/results/verdicts`.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOW = "gradient flow"  # the method's name in a study's table


@dataclass(frozen=True)
class Study:
    """One study: `rows` is the `module:function`, below this package, that gives its table's rows.

    One that is `of_runs` is made of trained and measured runs, by a function below
    `eosflow.results.studies`. `version` is raised when the numbers move or the form
    of the table; this study alone is then made again. One that is `judged` has verdicts on what its
    source says.
    """

    rows: str
    version: int
    judged: bool = False
    of_runs: bool = False


STUDIES: dict[str, Study] = {
    "edge-of-stability": Study("edge_of_stability:rows", version=6, judged=True),
    "edge-cifar10": Study("edge_cifar10:table", version=1, judged=True, of_runs=True),
    "sgd-grid": Study("runs:with_eigenvalues", version=1, judged=True, of_runs=True),
    "spectra": Study("runs:with_accuracies", version=1, of_runs=True),
    "optimizer-ends": Study("optimizer_ends:table", version=1, judged=True, of_runs=True),
    "nudged-sgd": Study("nudged_sgd:table", version=1, judged=True, of_runs=True),
    "minibatches": Study("minibatches:table", version=1, judged=True, of_runs=True),
    "instabilities": Study("instabilities:rows", version=1, judged=True),
    "optimizer-edges": Study("optimizer_edges:rows", version=1, judged=True),
    "schedules": Study("schedules:rows", version=1, judged=True),
    "escaping": Study("escaping:rows", version=1, judged=True),
    "subspaces": Study("subspaces:rows", version=1, judged=True),
    "transient": Study("transient:rows", version=6),
    "work-precision": Study("work_precision:rows", version=6),
    "work-precision-full-width": Study("work_precision:rows_at_full_width", version=6),
    "spectral-density": Study("spectral_density:rows", version=1, judged=True),
    "effective-parameters": Study("effective_parameters:rows", version=1, judged=True),
    "generalized-prediction-error": Study(
        "generalized_prediction_error:rows", version=1, judged=True
    ),
    "sam-edge": Study("sam_edge:rows", version=1, judged=True),
}
JUDGED = tuple(name for name, study in STUDIES.items() if study.judged)
OF_RUNS = tuple(name for name, study in STUDIES.items() if study.of_runs)


def table_of(study: str) -> str:
    """The path of a study's table in the results folder."""
    return f"studies/{study}/table.csv"


def record_of(study: str) -> str:
    """The path of the record that tells where a study's table comes from."""
    return f"provenance/studies/{study}/table.json"


def claims_of(study: str) -> str:
    """The path of the verdicts of a study, if it is judged."""
    return f"studies/{study}/claims.csv"
