"""What the source says of one instability of gradient descent, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import (
    CONTRADICTED,
    HOLDS,
    Inequality,
    table,
)

TIMES = 5  # "highly variable": at least so many times as in the stable phase
EDGE = 0.1  # 2/20
SEEN = 10  # a swing is seen above so many times the largest of the stable phase


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of the study, from its table; `measured` is the median over the seeds.

    The quadratic is exact and has no seeds.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = [_quadratic(frame[frame["part"] == "quadratic"])]
    found = frame[frame["part"] != "quadratic"]
    for inequality, measure in CLAIMS.items():
        values = [measure(run) for _, run in found.groupby("seed")]
        rate = found["learning_rate"].iloc[0] if len(found) else np.nan
        settings = f"cheb-4, learning rate {rate:g}, first instability"
        rows.append(inequality.judged(values, settings))
    return table(rows)


def _quadratic(runs: pd.DataFrame) -> tuple[object, ...]:
    grows = runs["growth"] > 1
    stable, unstable = runs.loc[~grows, "learning_rate"], runs.loc[grows, "learning_rate"]
    right = len(stable) and len(unstable) and (grows == (runs["learning_rate"] > EDGE)).all()
    return (
        "diverges-beyond-a-tenth",
        "On a quadratic with eigenvalues 20 and 1 gradient descent diverges iff η > 0.1. Measured: "
        "the largest η at which the loss falls and the smallest at which it grows.",
        f"{EDGE:g}",
        f"{stable.max():g}, {unstable.min():g}",
        0,
        HOLDS if right else CONTRADICTED,
        "exact, no seeds",
    )


Measure = Callable[[pd.DataFrame], float | None]


def _swings(run: pd.DataFrame) -> np.ndarray:
    """The swings while λ₁η ≥ 2, from the first on that stands out from the stable phase."""
    course = run[run["part"] == "course"]
    quiet = course.loc[course["place"] == "stable", "swing"].abs().max()
    swings = course.loc[course["place"] == "unstable", "swing"].to_numpy()
    seen = np.flatnonzero(np.abs(swings) > SEEN * quiet)
    return swings[seen[0] :] if len(seen) else swings[:0]


def _alternates(run: pd.DataFrame) -> float | None:
    swings = _swings(run)
    return float(np.mean(swings[1:] * swings[:-1] < 0)) if len(swings) > 1 else None


def _grows(run: pd.DataFrame) -> float | None:
    sizes = np.abs(_swings(run))
    return float(np.mean(sizes[1:] > sizes[:-1])) if len(sizes) > 1 else None


def _along_update(place: str) -> Measure:
    """The change of the loss in the step that was scanned, relative to the loss."""

    def measure(run: pd.DataFrame) -> float | None:
        scan = run[(run["part"] == "scan") & (run["place"] == place)].set_index("alpha")["loss"]
        return float(scan.loc[1.0] / scan.loc[0.0] - 1)

    return measure


def _not_quadratic(run: pd.DataFrame) -> float | None:
    scan = run[(run["part"] == "scan") & (run["place"] == "stable")]
    span = scan["loss"].max() - scan["loss"].min()
    return float((scan["loss"] - scan["quadratic_loss"]).abs().max() / span)


def _against_stable(column: str, of: Callable[[pd.Series], float]) -> Measure:
    """A number of the comparisons in the instability over their median in the stable phase."""

    def measure(run: pd.DataFrame) -> float | None:
        course = run[(run["part"] == "course") & run[column].notna()]
        stable = course.loc[course["place"] == "stable", column].median()
        return float(of(course.loc[course["place"] == "unstable", column]) / stable)

    return measure


def _in_top(run: pd.DataFrame) -> float | None:
    course = run[(run["part"] == "course") & (run["place"] == "unstable")]
    largest = course["change"] == course["change"].max()
    return float((course["within"] + course["across"])[largest].iloc[0])


_CHANGE = "The Hessian is highly variable through it. Measured: ‖Δ𝓗‖/‖𝓗‖ over ten steps, the"
_OVER = f"over the median of the stable phase; holds from {TIMES} on."


def _much(value: float) -> bool:
    return value >= TIMES


CLAIMS: dict[Inequality, Measure] = {
    Inequality(
        "alternates",
        "While λ₁η > 2, ⟨q₁, θ − θ_ref⟩ alternates in sign. Measured: the share of steps that "
        f"change its sign, from where it is {SEEN} times as large as ever before; holds from 0.9.",
        "(in words)",
        lambda value: value >= 0.9,
    ): _alternates,
    Inequality(
        "grows",
        "Its magnitude is ever-increasing. Measured: the share of the same steps in which it "
        "grows; holds from 0.9.",
        "(in words)",
        lambda value: value >= 0.9,
    ): _grows,
    Inequality(
        "step-falls-before",
        "Before, where λ₁η < 2, the step lowers the loss. Measured: 𝓛(θ + Δθ)/𝓛(θ) − 1.",
        "< 0",
        lambda value: value < 0,
    ): _along_update("stable"),
    Inequality(
        "step-rises-in-it",
        "In it the step goes across the valley and ends higher. Measured: the same.",
        "> 0",
        lambda value: value > 0,
    ): _along_update("unstable"),
    Inequality(
        "step-falls-after",
        "After it the step lowers the loss again. Measured: the same.",
        "< 0",
        lambda value: value < 0,
    ): _along_update("after"),
    Inequality(
        "quadratic-before",
        "Where λ₁η < 2 the loss along the step is quadratic. Measured: the largest distance of 𝓛 "
        "from its quadratic over α from −1 to 2, relative to the span of 𝓛; holds up to 0.05.",
        "(a profile)",
        lambda value: value <= 0.05,
    ): _not_quadratic,
    Inequality("hessian-varies", f"{_CHANGE} largest {_OVER}", "≥ 5", _much): _against_stable(
        "change", lambda values: float(values.max())
    ),
    Inequality(
        "hessian-varies-throughout", f"{_CHANGE} median {_OVER}", "≥ 5", _much
    ): _against_stable("change", lambda values: float(values.median())),
    Inequality(
        "in-the-top-directions",
        "It varies in the directions of largest λ. Measured: the share of ‖Δ𝓗‖² within and across "
        "the top 5 directions, where the change is largest; holds above 0.5.",
        "(in words)",
        lambda value: value > 0.5,
    ): _in_top,
    Inequality(
        "first-direction-turns",
        f"The directions turn. Measured: 1 − |⟨v₁(t), v₁(t+10)⟩|, the largest {_OVER}",
        "≥ 5",
        _much,
    ): _against_stable("turned", lambda values: float(values.max())),
    Inequality(
        "subspace-turns",
        f"The same of the top 5 together. Measured: 1 − their overlap, the largest {_OVER}",
        "≥ 5",
        _much,
    ): _against_stable("lost", lambda values: float(values.max())),
}
