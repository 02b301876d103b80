"""The studies of SGD on runs: tables, verdicts and drawings of frames that were made up; a kill."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from problems import small_problem, small_spec, write_noise_subset
from test_columns import entry, hold
from test_training import assert_same_run, kill_at
from torch import nn
from verdicts import AGAINST, FOR, drawn, judged, study_run

import eosflow
from eosflow.analysis import claims
from eosflow.measurements.accuracy import Distance
from eosflow.optimizers.batches import Shuffled
from eosflow.optimizers.subspace import NudgedSGD
from eosflow.runs.train import train
from eosflow.storage.errors import UserError
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.studies.base import FLOW
from eosflow.studies.nudged_sgd import table as nudged
from eosflow.studies.runs import StudyRun, by_snapshot

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


def ten_steps(optimizer: dict[str, Any], stopped: str = "max_iterations") -> StudyRun:
    """Ten steps with searches at the first and the sixth, and looks at 0, 4 and 10."""
    steps = np.arange(10)
    course = {"iteration": steps, "eigenvalue_1": np.where(steps < 5, 7.0, 9.0)}
    course |= {"residual": np.where(steps < 5, 1e-3, 2e-3)}
    course |= {"power_iterations": np.where(steps % 5 == 0, 6, 0)}
    looks = {"iteration": [0, 4, 10], "flow_time": [0.0, 0.4, 1.0]}
    accuracy = looks | {"loss": [3.0, 2.0, 1.0], "accuracy": [0.1, 0.5, 0.9]}
    accuracy |= {"held_out_loss": [3.0, 2.5, 2.0], "held_out_accuracy": [0.1, 0.2, 0.3]}
    measured = {
        "accuracy": pd.DataFrame(accuracy),
        "distance": pd.DataFrame(looks | {"distance": [0.0, 1.0, 2.5]}),
    }
    return study_run(optimizer, measured, 0, stopped, pd.DataFrame(course))


def test_the_table_of_nudged_sgd_has_a_row_per_run() -> None:
    kinds = [
        {"name": "nudged-sgd", "gamma": 0.1, "learning_rate": 0.05},
        {"name": "bulk-sgd", "learning_rate": 0.05},
        {"name": "dominant-sgd", "learning_rate": 0.05},
    ]
    runs = [ten_steps(kind) for kind in kinds]
    table = nudged.table([*runs, ten_steps(kinds[0], stopped="diverged")])
    assert table["gamma"].fillna(-1).tolist() == [0.1, 0.0, -1.0, 0.1]
    first, lost = table.iloc[0], table.iloc[-1]
    names = ["loss", "accuracy", "held_out_accuracy", "distance", "early_iteration"]
    assert first[names].tolist() == [1.0, 0.9, 0.3, 2.5, 4]
    assert first["early_held_out_accuracy"] == 0.2
    sharpness = [f"sharpness_{when}" for when in ("start", "max", "end")]
    assert first[sharpness].tolist() == [7.0, 9.0, 9.0] and first["residual"] == 2e-3
    assert lost[names[:4]].isna().all() and lost["early_held_out_accuracy"] == 0.2
    hold(entry("studies/nudged-sgd/table.csv"), table.columns)


def nudged_table(losses: dict[float, float], sharpness: dict[float, float]) -> pd.DataFrame:
    """A row per γ and seed; the numbers of a seed are s + 1 times those of the first."""
    shared: dict[str, Any] = {"network": "mlp", "n": 100, "learning_rate": 0.05, "batch": 25}
    shared |= {"subset_seed": 0, "steps": 300, "sharpness_max": 99.0, "sharpness_start": 5.0}
    return pd.DataFrame(
        {**shared, "seed": seed, "gamma": gamma, "loss": loss * (seed + 1)}
        | {"stopped": "diverged" if math.isnan(loss) else "max_iterations", "distance": 2.0 + loss}
        | {"sharpness_end": sharpness[gamma] * (seed + 1)}
        | {"held_out_accuracy": 0.3 - loss / 10, "early_held_out_accuracy": 0.2 - loss / 10}
        for gamma, loss in losses.items()
        for seed in range(6)
    )


def test_nudged_sgd_is_judged_against_sgd_of_the_same_seed() -> None:
    frame = nudged_table({0.1: 0.5, 1.0: 1.0, 5.0: math.nan}, {0.1: 30.0, 1.0: 20.0, 5.0: 9.0})
    found = judged("nudged-sgd", frame)
    assert float(found.loc["nudged-lower-loss", "measured"]) == 0.5
    assert float(found.loc["nudged-sharper", "measured"]) == 1.5
    assert float(found.loc["nudged-generalizes", "measured"]) == pytest.approx(5)
    assert found["verdict"].to_dict() == {
        "nudged-lower-loss": claims.AS_EXPECTED,
        **dict.fromkeys(("nudged-sharper", "nudged-faster", "nudged-generalizes"), claims.HOLDS),
        "pushed-flatter": claims.NOT_RUN,  # it diverged on every seed
        "pushed-higher-loss": claims.AS_EXPECTED,
    }
    assert found.loc["pushed-higher-loss", "measured"] == math.inf
    worse = nudged_table({0.1: 2.0, 1.0: 1.0, 5.0: 0.5}, {0.1: 1.0, 1.0: 2.0, 5.0: 3.0})
    assert set(judged("nudged-sgd", worse)["verdict"]) <= AGAINST
    assert "pushed-flatter" not in judged("nudged-sgd", frame[frame["gamma"] < 5]).index


def minibatch_table(crosses: bool) -> pd.DataFrame:
    """Parabolas with their least at α = 0.5 or 3, random changes of nothing, at two looks."""
    row: dict[str, Any] = {"network": "mlp", "n": 300, "learning_rate": 0.05, "batch": 25}
    row |= {"cosine_random": 0.01, "top_scale": 2.0, "cosine_1": 0.4, "cosine_2": 0.2}
    row |= {"cosine": 0.3 if crosses else 0.02, "sharpness": 10.0}
    row |= {"minibatch_sharpness": 15.0 if crosses else 9.0}
    for alpha in (0.25, 0.5, 1.0, 2.0, 3.0):
        row[f"top_whole_{alpha:g}"] = alpha * (alpha - (1 if crosses else 6))
        row[f"random_whole_{alpha:g}"] = 0.0
        row[f"step_whole_{alpha:g}"] = -alpha if crosses else alpha
    looks = ((seed, iteration) for seed in range(6) for iteration in (0, 150))
    return pd.DataFrame(row | {"seed": seed, "iteration": step} for seed, step in looks)


def test_minibatches_are_judged_per_look_after_the_start() -> None:
    found = judged("minibatches", minibatch_table(crosses=True))
    assert found["measured"].astype(float).to_dict() == {
        "gradients-align": 30.0,
        "step-crosses-minimum": 0.5,
        "step-fails-to-minimize": 0.0,
        "whole-step-lowers": -1.0,
        "minibatches-sharper": 1.5,
    }
    assert set(found["verdict"]) <= FOR
    assert set(found["settings"]) == {"mlp, N = 300: η = 0.05, batch 25, step 150"}
    other = judged("minibatches", minibatch_table(crosses=False))
    assert set(other["verdict"]) <= AGAINST
    assert other.loc["step-fails-to-minimize", "measured"] == -2.5


def test_a_table_by_snapshot_joins_measurements_that_share_columns() -> None:
    one = pd.DataFrame({"iteration": [0, 2], "flow_time": [0.0, 0.2], "converged": [True, True]})
    two = one.assign(converged=[False, True], learning_rate=0.3, batch_size=25)
    run = edge_run(0.1, [3.0, 2.0])
    both = dataclasses.replace(run, measured={"a": one, "b": two})
    joined = by_snapshot([both])
    assert joined["converged"].tolist() == [False, True]
    assert set(joined["learning_rate"]) == {0.1} and set(joined["learning_rate_measured"]) == {0.3}
    with pytest.raises(UserError, match=r"no sharpest directions.*nudged-sgd"):
        nudged.table([both])


def test_the_distance_is_from_where_training_began() -> None:
    objective, _ = small_problem("cross_entropy")
    start = objective.network.initialize(3)
    away = torch.zeros_like(start)
    away[[1, 5]] = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert Distance().measure(objective, start + away, 9, 3)["distance"] == pytest.approx(5.0)
    # As a library: from the module's own weights, whatever the seed of the run.
    torch.manual_seed(1)
    module = nn.Linear(3, 2)
    problem = eosflow.Problem(module, "cross_entropy", (torch.randn(6, 3), torch.arange(6) % 2))
    descent = eosflow.GradientDescent(learning_rate=0.1)
    run = eosflow.follow(problem, descent, steps=4, measure=[Distance(every=4)], seed=7)
    moved = (run.theta - problem.theta).square().sum().sqrt().item()
    assert run.measurements["distance"]["distance"].tolist() == pytest.approx([0.0, moved])


def test_a_run_of_a_study_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL comes between two searches for the sharpest directions."""
    spec = small_spec(
        optimizer=NudgedSGD(learning_rate=0.02, momentum=0.5, every=10),
        batch=Shuffled(size=6), target_loss=None, max_iterations=60,
    )  # fmt: skip
    subset = write_noise_subset(tmp_path / "dice-subset0.npz", seed=0)
    train(spec, subset, tmp_path / "undisturbed", threads=1)
    folder = tmp_path / "killed"
    kill_at(13, spec, subset, folder)
    train(spec, subset, folder, threads=1)
    assert_same_run(tmp_path / "undisturbed", folder)
