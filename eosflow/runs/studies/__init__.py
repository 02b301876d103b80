"""The studies: what beside the runs of the experiments is computed. Standard library only.

Each makes one table, from problems of its own. To add one: a module here with a function that gives
the rows, a line below, a figure in `eosflow/results/figures`, and where it checks what a source
says, verdicts in `eosflow/results/verdicts`.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOW = "gradient flow"  # the method's name in a study's table


@dataclass(frozen=True)
class Study:
    """One study: `rows` is the `module:function`, below this package, that gives its table's rows.

    `version` is raised when the numbers move or the form of the table; this study alone is then
    made again. One that is `judged` has verdicts on what its source says.
    """

    rows: str
    version: int
    judged: bool = False


STUDIES: dict[str, Study] = {
    "edge-of-stability": Study("edge_of_stability:rows", version=6, judged=True),
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


def table_of(study: str) -> str:
    """The path of a study's table in the results folder."""
    return f"studies/{study}/table.csv"


def claims_of(study: str) -> str:
    """The path of the verdicts of a study, if it is judged."""
    return f"studies/{study}/claims.csv"
