"""What is said of one instability of gradient descent, measured on each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from eosflow.analysis.claims import Sample, first_true
from eosflow.studies.base import Sampled, each

EDGE = 0.1  # 2/20
SEEN = 10  # an oscillation is seen above so many times the largest of the stable phase


def samples(frame: pd.DataFrame) -> Iterator[Sampled]:
    """One sample per claim. The quadratic is exact and has no seeds."""
    runs, found = (frame[(frame["part"] == "quadratic") == part] for part in (True, False))
    rates = runs["learning_rate"]
    wrong = ((runs["growth"] > 1) != (rates > EDGE)).sum()
    exact = f"exact, no seeds, {len(runs)} learning rates from {rates.min():g} to {rates.max():g}"
    yield "diverges-beyond-a-tenth", Sample.exact(float(wrong)), exact
    rate = found["learning_rate"].iloc[0] if len(found) else np.nan
    seeds = [run for _, run in found.groupby("seed")]
    settings = f"cheb-4, η = {rate:g}, first instability"
    yield from each(MEASURES, [(settings, seeds)])


def _oscillation(run: pd.DataFrame) -> np.ndarray:
    """⟨q₁, θ − θ_ref⟩ while λ₁η ≥ 2, from where it stands out from the stable phase on."""
    course = run[run["part"] == "course"].groupby("place")["swing"]
    unstable = course.get_group("unstable").to_numpy()
    quiet = course.get_group("stable").abs().max()
    return unstable[first_true(np.abs(unstable) > SEEN * quiet) :]


def _share(of: Callable[[np.ndarray], np.ndarray]) -> Callable[[pd.DataFrame], float]:
    """The share of steps of the oscillation in which something is so."""

    def measure(run: pd.DataFrame) -> float:
        steps = of(_oscillation(run))
        return float(steps.mean()) if len(steps) else np.nan

    return measure


def _scan(run: pd.DataFrame, place: str) -> pd.DataFrame:
    return run[(run["part"] == "scan") & (run["place"] == place)].set_index("alpha")


def _step(place: str) -> Callable[[pd.DataFrame], float]:
    """The change of the loss in the step that was scanned, relative to the loss."""

    def measure(run: pd.DataFrame) -> float:
        loss = _scan(run, place)["loss"]
        return float(loss.loc[1.0] / loss.loc[0.0] - 1)

    return measure


def _not_quadratic(run: pd.DataFrame) -> float:
    scan = _scan(run, "stable")
    apart = (scan["loss"] - scan["quadratic_loss"]).abs().max()
    return float(apart / (scan["loss"].max() - scan["loss"].min()))


def _against_stable(column: str, of: str) -> Callable[[pd.DataFrame], float]:
    """A statistic of the comparisons in the instability over their median in the stable phase."""

    def measure(run: pd.DataFrame) -> float:
        course = run[run["part"] == "course"].groupby("place")[column]
        return float(course.agg(of)["unstable"] / course.median()["stable"])

    return measure


def _in_top(run: pd.DataFrame) -> float:
    course = run[(run["part"] == "course") & (run["place"] == "unstable")]
    largest = course.nlargest(1, "change").iloc[0]
    return float(largest["within"] + largest["across"])


MEASURES: dict[str, Callable[[pd.DataFrame], float]] = {
    "alternates": _share(lambda along: along[1:] * along[:-1] < 0),
    "grows": _share(lambda along: np.abs(along[1:]) > np.abs(along[:-1])),
    "step-falls-before": _step("stable"),
    "step-rises-in-it": _step("unstable"),
    "step-falls-after": _step("after"),
    "quadratic-before": _not_quadratic,
    "hessian-varies": _against_stable("change", "max"),
    "hessian-varies-throughout": _against_stable("change", "median"),
    "in-the-top-directions": _in_top,
    "first-direction-turns": _against_stable("turned", "max"),
    "subspace-turns": _against_stable("lost", "max"),
}
