"""What a log says of a training run, and how long it has still to go."""

from __future__ import annotations

import io
import math

import pytest

from eosflow import progress
from eosflow.progress import LossProgress, iterations_needed, time_left


def test_a_power_law_ends_where_it_says() -> None:
    def loss(iteration: int) -> float:
        return 40 * iteration**-1.7

    end = (40 / 0.01) ** (1 / 1.7)
    for iteration in (2, 50, 131):
        needed = iterations_needed(iteration, loss(iteration), loss(iteration // 2), 0.01)
        assert needed == pytest.approx(end)


@pytest.mark.parametrize(
    ("iteration", "loss", "at_half", "needed"),
    [
        (0, 2.0, 2.0, math.inf),
        (1, 1.0, 2.0, math.inf),  # no earlier loss but that of iteration 0
        (10, 2.0, 2.0, math.inf),
        (10, 2.5, 2.0, math.inf),
        (10, 2.0, 2.0 * (1 + 1e-15), math.inf),  # beyond what a float holds
        (10, 0.01, 0.02, 10),
    ],
)
def test_where_no_end_is_in_sight(
    iteration: int, loss: float, at_half: float, needed: float
) -> None:
    assert iterations_needed(iteration, loss, at_half, 0.01) == needed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7100, "118 min"), (27000, "7.5 h")],
)
def test_time_left_in_units_for_people(seconds: float, text: str) -> None:
    assert time_left(seconds) == text


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    log = io.StringIO()
    shown = LossProgress("dice-ce/n468/init0-subset0", 0.01, log)
    for iteration in range(100, 161):
        clock[0] += 1
        shown.update(iteration, 100 / iteration, 100 / (iteration // 2), 12.3456)
    shown.close()
    first, second = log.getvalue().splitlines()
    assert first == (
        "dice-ce/n468/init0-subset0: iteration 129  loss 0.7752 (target 0.01)  sharpness 12.35  "
        "0.97 iterations/s  about 2.8 h left"
    )
    assert second.split("iteration ")[1].startswith("159 ")
