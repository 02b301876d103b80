"""What a log says of a training run, and how long it has still to go."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest
from project import ROOT

from eosflow.runs import progress
from eosflow.runs.progress import (
    LossProgress,
    iterations_needed,
    iterations_of_growing_steps,
)


def test_a_power_law_ends_where_it_says() -> None:
    def loss(iteration: int) -> float:
        return 40 * iteration**-1.7

    end = (40 / 0.01) ** (1 / 1.7)
    for iteration in (2, 50, 131):
        early, late = iterations_needed(iteration, loss(iteration), loss(iteration // 2), 0.01)
        assert late == pytest.approx(end)
        assert iteration < early < end


def test_an_exponential_ends_where_it_says() -> None:
    def loss(iteration: int) -> float:
        return 40 * math.exp(-0.03 * iteration)

    end = math.log(40 / 0.01) / 0.03
    for iteration in (2, 50, 131):
        early, late = iterations_needed(iteration, loss(iteration), loss(iteration // 2), 0.01)
        assert early == pytest.approx(end)
        assert late > end


@pytest.mark.parametrize(
    ("iteration", "loss", "at_half"),
    [
        (0, 2.0, 2.0),
        (1, 1.0, 2.0),  # no earlier loss but that of iteration 0
        (10, 2.0, 2.0),
        (10, 2.5, 2.0),
    ],
)
def test_where_no_end_is_in_sight(iteration: int, loss: float, at_half: float) -> None:
    assert iterations_needed(iteration, loss, at_half, 0.01) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("first", "power", "text"),
    [
        # One iteration a second; 1/i² meets the target at 1000. As an exponential from half way it
        # would take (132 - 66) * log(132^-2 / 1e-6) / log(4) = 193 s from iteration 132.
        (100, -2.0, "3.2 min to 14 min left"),
        (700, -2.0, "about 4.5 min left"),
        (100, 0.0, "time unknown"),
        (100, -1.0, "time unknown"),  # 14 minutes to 12 days, which tells nothing
    ],
)
def test_a_range_of_time_while_the_end_is_far(
    monkeypatch: pytest.MonkeyPatch, first: int, power: float, text: str
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    log = io.StringIO()
    shown = LossProgress("run", 1e-6, log)
    for iteration in (first, first + 32):
        shown.update(iteration, iteration**power, (iteration // 2) ** power, 1.0)
        clock[0] += 32
    shown.close()
    assert log.getvalue().splitlines()[0].endswith(text)


def test_what_is_said_of_adaptive_runs_holds_for_those_that_ended() -> None:
    courses = pd.read_parquet(ROOT / "docs" / "reproduction" / "flow" / "trajectories.parquet")
    right = []
    for _, run in courses.groupby(["experiment", "n", "init_seed", "subset_seed"]):
        losses = run.sort_values("iteration")["loss"].tolist()
        for iteration in range(2, len(losses) - 1):
            seen = losses[iteration - 2 : iteration + 1]
            least, most = iterations_of_growing_steps(seen, losses[-1])
            right.append(least <= len(losses) - 1 - iteration <= most)
    assert len(right) > 2000
    assert sum(right) > 0.85 * len(right)


def test_steps_that_grow_are_judged_by_the_last_iterations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    log = io.StringIO()
    shown = LossProgress("run", 1e-4, log, steps_grow=True)
    for iteration, loss in enumerate((2.3, 2.2, 2.0, 1.6, 1.0, 0.1, 0.01)):
        shown.update(iteration, loss, 2.3, 1.0)
        clock[0] += 31
    shown.close()
    first, *_, last = log.getvalue().splitlines()
    # From 1 to 0.01 in two iterations of 31 s each, and the same factor is to come.
    assert first.endswith("time unknown")
    assert last.endswith("16 s to 78 s left")


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, saved = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    log = io.StringIO()
    name = "dice-ce/n468/init0-subset0"
    shown = LossProgress(name, 0.01, log, save=lambda *values: saved.append(values))
    for iteration in range(100, 161):
        clock[0] += 1
        shown.update(iteration, 100 / iteration, 100 / (iteration // 2), 12.3456)
    shown.close()
    first, second = log.getvalue().splitlines()
    assert first == (
        "dice-ce/n468/init0-subset0: iteration 129  loss 0.7752 (target 0.01)  sharpness 12.35  "
        "0.97 iterations/s  7 min to 2.8 h left"
    )
    assert second.split("iteration ")[1].startswith("159 ")
    assert [values[:3] for values in saved] == [(i, 100 / i, 12.3456) for i in (129, 159)]
    assert saved[0][3] == pytest.approx(2.8 * 3600, rel=0.02)
