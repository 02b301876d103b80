"""What is said of one instability of gradient descent, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Claim, Interval, table

EDGE = 0.1  # 2/20
SEEN = 10  # a swing is seen above so many times the largest of the stable phase
GROWS = "Cohen et al. 2021, arXiv:2103.00065, Figure 4 (b)"
THROUGH = "Roberts, slide “Passing through instabilities”"
WOBBLY = "Roberts, slide “Instabilities - wobbly Hessians”"


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """One verdict per claim. The quadratic is exact and has no seeds.

    Returns: the columns of `eosflow.analysis.claims`.
    """
    rows = [_quadratic(frame[frame["part"] == "quadratic"])]
    found = frame[frame["part"] != "quadratic"]
    rate = found["learning_rate"].iloc[0] if len(found) else np.nan
    settings = f"cheb-4, η = {rate:g}, first instability"
    for claim, measure in CLAIMS.items():
        rows.append(claim.judged([measure(run) for _, run in found.groupby("seed")], settings))
    return table(rows)


def _quadratic(runs: pd.DataFrame) -> dict[str, object]:
    wrong = float(((runs["growth"] > 1) != (runs["learning_rate"] > EDGE)).sum())
    rates = runs["learning_rate"]
    settings = (
        f"exact, no seeds, {len(runs)} learning rates from {rates.min():g} to {rates.max():g}"
    )
    return QUADRATIC.row(Interval(wrong, wrong, wrong, 1), settings)


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


def _against_stable(column: str, of: str) -> Measure:
    """A statistic of the comparisons in the instability over their median in the stable phase."""

    def measure(run: pd.DataFrame) -> float | None:
        course = run[(run["part"] == "course") & run[column].notna()]
        stable = course.loc[course["place"] == "stable", column].median()
        return float(course.loc[course["place"] == "unstable", column].agg(of) / stable)

    return measure


def _in_top(run: pd.DataFrame) -> float | None:
    course = run[(run["part"] == "course") & (run["place"] == "unstable")]
    largest = course["change"] == course["change"].max()
    return float((course["within"] + course["across"])[largest].iloc[0])


QUADRATIC = Claim(
    "diverges-beyond-a-tenth",
    "On a quadratic with eigenvalues 20 and 1 gradient descent diverges iff η > 0.1.",
    "learning rates at which it does the other thing",
    "Cohen et al. 2021, arXiv:2103.00065, Figure 2",
    f"{EDGE:g}",
    within=(0, 0),
)
_STEP = "𝓛(θ + Δθ)/𝓛(θ) − 1 of one step"
_CHANGE = "‖Δ𝓗‖/‖𝓗‖ over ten steps over its median in the stable phase"
_MUCH = (5, np.inf)  # "highly"
CLAIMS: dict[Claim, Measure] = {
    Claim(
        "alternates",
        "While λ₁η > 2, ⟨q₁, θ − θ_ref⟩ alternates in sign.",
        f"share of steps that do, once it is {SEEN} times as large as ever before",
        GROWS,
        "oscillate",
        within=(0.9, 1),
    ): _alternates,
    Claim(
        "grows",
        "Its magnitude is ever-increasing.",
        "share of the same steps in which it grows",
        GROWS,
        "ever-increasing",
        within=(0.9, 1),
    ): _grows,
    Claim(
        "step-falls-before", "Before, the step lowers the loss.", _STEP, THROUGH, "(plot)", below=0
    ): _along_update("stable"),
    Claim(
        "step-rises-in-it",
        "In it the step crosses the valley and ends higher.",
        _STEP,
        THROUGH,
        "(plot)",
        above=0,
    ): _along_update("unstable"),
    Claim(
        "step-falls-after",
        "After it the step lowers the loss again.",
        _STEP,
        THROUGH,
        "(plot)",
        below=0,
    ): _along_update("after"),
    Claim(
        "quadratic-before",
        "While λ₁η < 2 the loss along the step is quadratic.",
        "largest distance from the quadratic over α from −1 to 2, over the span of 𝓛",
        within=(0, 0.05),
    ): _not_quadratic,
    Claim(
        "hessian-varies",
        "The Hessian becomes highly variable.",
        f"the largest {_CHANGE}",
        WOBBLY,
        "highly variable",
        within=_MUCH,
    ): _against_stable("change", "max"),
    Claim(
        "hessian-varies-throughout",
        "It is so in most of the instability.",
        f"the median {_CHANGE}",
        within=_MUCH,
    ): _against_stable("change", "median"),
    Claim(
        "in-the-top-directions",
        "It varies in the directions of largest λ.",
        "share of ‖Δ𝓗‖² within and across the top 5 directions at the largest change",
        WOBBLY,
        "in the directions of largest λ",
        above=0.5,
    ): _in_top,
    Claim(
        "first-direction-turns",
        "The first direction turns.",
        "the largest 1 − |⟨v₁(t), v₁(t+10)⟩| over its median in the stable phase",
        within=_MUCH,
    ): _against_stable("turned", "max"),
    Claim(
        "subspace-turns",
        "The top 5 directions turn together.",
        "the largest 1 − overlap over its median in the stable phase",
        within=_MUCH,
    ): _against_stable("lost", "max"),
}
