"""The studies of SGD on runs: verdicts, tables and drawings, on frames that were made up."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from verdicts import drawn, judged, study_run

from eosflow.analysis import claims
from eosflow.storage.errors import UserError
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.studies.base import FLOW
from eosflow.studies.runs import StudyRun

ITERATIONS = np.arange(0, 261, 20)
SETTINGS = [(0.02, 100), (0.05, 100), (0.2, 100), (0.05, 10), (0.05, 25)]


def grid(power: float, seeds: int = 6, peak_at: dict[float, int] | None = None) -> pd.DataFrame:
    """λ₁ = (B/η)^power, a little more at the peak; 1e9 at the start, which is left out."""
    frames = []
    for rate, batch in SETTINGS:
        for seed in range(seeds):
            values = np.full(len(ITERATIONS), (batch / rate) ** power)
            values[(peak_at or {}).get(rate, 40) == ITERATIONS] *= 1.001
            values[0] = 1e9
            row = {"network": "mlp", "n": 300, "learning_rate": rate, "batch": batch, "seed": seed}
            row |= {"subset_seed": 0, "stopped": "max_iterations"}
            seen = {"iteration": ITERATIONS, "eigenvalue_1": values, "eigenvalue_2": values / 2}
            seen["flow_time"] = rate * ITERATIONS
            frames.append(pd.DataFrame(row | seen))
    return pd.concat(frames, ignore_index=True)


def verdicts(frame: pd.DataFrame) -> dict[str, Any]:
    return judged("sgd-grid", frame).to_dict("index")


def test_sharpness_by_the_quotient_gives_ratios_in_closed_form() -> None:
    found = verdicts(grid(0.5, peak_at={0.02: 60, 0.2: 20}))
    measured = {claim: float(row["measured"]) for claim, row in found.items()}
    assert math.isnan(measured.pop("smaller-batch-earlier-peak"))
    ratios = {"larger-rate-lower-peak": 10**0.5, "larger-rate-earlier-peak": 3}
    ratios |= {"smaller-batch-lower-peak": 10**0.5, "same-temperature": 1}
    assert measured == pytest.approx(ratios, rel=5e-3)
    assert found["same-temperature"]["settings"] == (
        "mlp, N = 300: η = 0.05, batch 25 against η = 0.2, batch 100"
    )
    # Both batch sizes peak at the same evaluation on every seed.
    unlike = {claim: row["verdict"] for claim, row in found.items() if row["verdict"] != "holds"}
    assert unlike == {"smaller-batch-earlier-peak": claims.NOT_RUN}
    found = verdicts(grid(-0.5))
    assert found["larger-rate-lower-peak"]["verdict"] == claims.CONTRADICTED
    assert found["smaller-batch-lower-peak"]["verdict"] == claims.CONTRADICTED
    frame = grid(0.5)
    frame.loc[(frame["seed"] == 5) & (frame["learning_rate"] == 0.2), "stopped"] = "diverged"
    row = verdicts(frame)["larger-rate-lower-peak"]
    assert (row["seeds"], row["verdict"]) == (5, claims.NOT_ENOUGH)


def test_a_peak_at_the_end_is_censored_and_eta_over_b_is_compared_at_equal_time() -> None:
    # Largest at the end of the slow run: its ratio is a lower bound, and stays.
    found = verdicts(grid(0.5, peak_at={0.02: 260, 0.2: 20}))["larger-rate-earlier-peak"]
    assert "peaks cut off: 6, 0" in found["settings"] and found["seeds"] == 6
    # At the end of the fast run: it may come later than the other, so nothing is said.
    found = verdicts(grid(0.5, peak_at={0.02: 20, 0.2: 260}))["larger-rate-earlier-peak"]
    assert (found["seeds"], found["verdict"]) == (0, claims.NOT_RUN)
    # Beyond the flow time that the shorter of two runs has, nothing counts.
    frame = grid(0.5)
    fast = (frame["learning_rate"] == 0.2) & (frame["flow_time"] > 0.05 * 260)
    frame.loc[fast, "eigenvalue_1"] = 1e6
    assert verdicts(frame)["same-temperature"]["measured"] == pytest.approx(1, rel=1e-3)


def edge_run(rate: float | None, losses: list[float], seed: int = 0) -> StudyRun:
    """λ₁ is 3/4 of 2/0.1 until iteration 2 and a little above it from there on."""
    optimizer: dict[str, Any] = {"name": "gradient-descent" if rate else "exponential-rosenbrock"}
    optimizer |= {"learning_rate": rate} if rate else {}
    looks = np.array([0, 2, len(losses)])
    seen = {"iteration": looks, "flow_time": looks * 0.1, "eigenvalue_1": [15.0, 20.5, 20.6]}
    measured = {"top-eigenvalues": pd.DataFrame(seen | {"residual_1": 1e-4})}
    course = pd.DataFrame({"iteration": range(len(losses)), "loss": losses})
    return study_run(optimizer, measured, seed, trajectory=course, batch={"name": "full"})


def test_the_edge_on_runs_is_judged_as_that_on_cheb() -> None:
    runs = [edge_run(None, [3.0, 2.0, 1.0, 0.5], seed) for seed in range(6)]
    runs += [edge_run(0.1, [3.0, 2.0, 2.5, 1.0, 1.5, 0.9], seed) for seed in range(6)]
    table = STUDIES["edge-cifar10"].table(runs)
    descent = table[(table["method"] != FLOW) & (table["seed"] == 0)]
    assert descent["loss"].tolist() == [3.0, 2.5, 1.2]  # the last is that of no step
    assert descent["rises"].tolist() == [0, 1, 3]
    found = judged("edge-cifar10", table).to_dict("index")
    assert "leaves-after" not in found  # it would need the distance
    assert float(found["flow-passes"]["measured"]) == pytest.approx(20.6 * 0.1 / 2, rel=5e-3)
    assert float(found["descent-is-held"]["measured"]) == pytest.approx(2.06, rel=5e-3)
    assert found["loss-not-monotone"]["measured"] == 50
    three = [edge_run(rate, [3.0, 2.0, 1.0]) for rate in (0.08, 0.1, 0.12)]
    sharpness, loss = drawn("edge-cifar10", STUDIES["edge-cifar10"].table([runs[0], *three])).axes
    assert len(sharpness.lines) == 1 + 2 * 3 and len(loss.lines) == 1 + 3


def test_spectra_mark_what_did_not_converge() -> None:
    frame = pd.DataFrame(
        {
            "experiment": "a", "seed": [0, 0, 1], "subset_seed": 0, "iteration": [0, 10, 0],
            "network": "mlp", "n": 9, "batch": 3, "learning_rate": 0.1,
            "eigenvalue_1": [3.0, 4.0, 9.0], "eigenvalue_2": [1.0, 2.0, 8.0],
            "converged": [True, False, True], "accuracy": 0.5, "held_out_accuracy": 0.4,
        }
    )  # fmt: skip
    above, below = drawn("spectra", frame).axes
    points = [[tuple(point) for point in line.get_xydata()] for line in above.lines]
    assert points[:-1] == [[(0, 3), (10, 4)], [(10, 4)], [(0, 1), (10, 2)], [(10, 2)]]
    assert {height for _, height in points[-1]} == {20}  # 2/η
    assert "batches of 3" in above.get_title()
    assert len(below.lines) == 2


@pytest.mark.registry
@pytest.mark.parametrize("name", OF_RUNS)
def test_a_measurement_that_a_table_needs_is_missed_in_words(name: str) -> None:
    less = dataclasses.replace(edge_run(0.1, [1.0, 0.5, 0.25]), measured={})
    missing = STUDIES[name].measurements[0]
    with pytest.raises(UserError, match=rf"experiments\.made\.measure: {missing} is missing"):
        STUDIES[name].table([less])
