"""What the slides say of the spectrum and of instabilities, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from eosflow.analysis.claims import Inequality, table


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study of spectra around an instability: medians over the seeds.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    numbers = frame[frame["kind"] == "numbers"]
    rows = []
    for (matrix, phase), looks in numbers.groupby(["matrix", "phase"], sort=False):
        settings = f"cheb-4, {'𝓗' if matrix == 'hessian' else 'G'}, {phase} the instability"
        for inequality, measure in OF_THE_SPECTRUM.items():
            rows.append(inequality.judged(measure(looks).tolist(), settings))
    hessian = numbers[numbers["matrix"] == "hessian"]
    phases = [run.set_index("phase") for _, run in hessian.groupby("seed")]
    for inequality, column in OF_THE_INSTABILITY.items():
        values = [_after_over_before(run[column]) for run in phases]
        rows.append(inequality.judged(values, "cheb-4, 𝓗, after over before"))
    return table(rows)


def _after_over_before(values: pd.Series[float]) -> float | None:
    if not {"before", "after"} <= set(values.index):
        return None  # the instability did not come
    return float(values["after"] / values["before"])


def _deviations(looks: pd.DataFrame) -> pd.Series[float]:
    return (looks["trace"] - looks["trace_exact"]).abs() / looks["trace_error"]


OF_THE_SPECTRUM: dict[Inequality, Callable[[pd.DataFrame], pd.Series[float]]] = {
    Inequality(
        "largest-at-the-edge",
        "The eigenvalues follow the Marchenko–Pastur law: the largest lies at its upper edge. "
        "Measured: λ₁ over the edge of the law of the same mean; holds up to 1.1.",
        "1",
        lambda value: value <= 1.1,
    ): lambda looks: looks["largest"] / looks["edge"],
    Inequality(
        "second-moment",
        "The same of their spread. Measured: the mean square of the eigenvalues over that of the "
        "law; holds within 0.8 to 1.25.",
        "1",
        lambda value: 0.8 <= value <= 1.25,
    ): lambda looks: looks["second_moment_over_law"],
    Inequality(
        "quadrature",
        "Lanczos quadrature gives the trace. Measured: its distance from Tr in standard errors; "
        "holds up to 3.",
        "(check)",
        lambda value: value <= 3,
    ): _deviations,
}
OF_THE_INSTABILITY: dict[Inequality, str] = {
    Inequality(
        "less-sharp",
        "An instability leads to a less sharp solution. Measured: λ₁(𝓗).",
        "< 1",
        lambda value: value < 1,
    ): "largest",
    Inequality(
        "better",
        "It leads to improved performance. Measured: the loss.",
        "< 1",
        lambda value: value < 1,
    ): "loss",
}
