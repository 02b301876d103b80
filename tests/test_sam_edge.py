"""The study of SAM's edge: its looks, its verdicts, its drawing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from verdicts import AGAINST, FEW, FOR, drawn

from eosflow.studies import STUDIES
from eosflow.studies.sam_edge import rows as sam_edge
from eosflow.studies.testbeds import cheb, dense

judge = STUDIES["sam-edge"].judge


def test_each_look_is_that_of_the_two_steps_written_out() -> None:
    objective, radius, rate = cheb(), 0.05, sam_edge.RATE
    rows = list(sam_edge.rows(objective, (3,), (radius,), range(0, 21, 10)))
    assert [row["iteration"] for row in rows] == [0, 10, 20]
    theta = objective.network.initialize(3)
    for _ in range(10):
        gradient = objective.evaluate(theta).gradient
        ahead = theta + radius * gradient / gradient.norm()
        theta = theta - rate * objective.evaluate(ahead).gradient
    evaluation, row = objective.evaluate(theta), rows[1]
    assert row["loss"] == pytest.approx(evaluation.loss, rel=1e-9)
    norm = evaluation.gradient.norm().item()
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-9)
    largest = torch.linalg.eigvalsh(dense(evaluation, "hessian"))[-1].item()
    assert row["sharpness"] == pytest.approx(largest, rel=1e-3)
    edge = norm / (2 * radius) * (np.sqrt(1 + 8 * radius / (rate * norm)) - 1)
    assert row["edge"] == pytest.approx(edge, rel=1e-9)


def made(seed: int, share: float) -> pd.DataFrame:
    """Gradient descent at its edge, SAM at a share of its own, which is 3."""
    parts = [
        {"rho": radius, "iteration": [0, 60, 100], "sharpness": [1.0, level, level], "edge": edge}
        for radius, level, edge in ((0.0, 6.5, 6.5), (0.1, 3 * share, 3.0))
    ]
    return pd.concat(map(pd.DataFrame, parts)).assign(seed=seed, loss=0.1)


def test_verdicts() -> None:
    held = judge(pd.concat([made(seed, 1.01) for seed in range(6)]))
    assert held["claim"].tolist() == ["at-its-own-edge"] * 2 + ["less-sharp-than-descent"]
    assert set(held["verdict"]) <= FOR
    assert held["measured"].astype(float).tolist() == pytest.approx([1, 1.01, 0.466], abs=1e-3)
    free = judge(pd.concat([made(seed, 3.0) for seed in range(6)]))
    assert [v in FOR for v in free["verdict"]] == [True, False, False]
    assert set(free["verdict"][1:]) <= AGAINST
    # A run that diverged has no end to compare.
    gone = pd.concat([made(seed, 1.0) for seed in range(6)])
    gone = gone[(gone["rho"] == 0) | (gone["seed"] > 0) | (gone["iteration"] < 100)]
    assert [v in FOR for v in judge(gone)["verdict"]] == [True, True, False]
    assert judge(gone)["verdict"][2] in FEW


def test_the_drawing_shows_the_first_seed_with_its_edge() -> None:
    sharpness, share, loss = drawn("sam-edge", pd.concat([made(0, 1.0), made(1, 1.1)])).axes
    solid = [line.get_ydata().tolist() for line in sharpness.lines if line.get_linestyle() == "-"]
    assert solid == [[1.0, 6.5, 6.5], [1.0, 3.0, 3.0]]
    dashed = [line.get_ydata().tolist() for line in sharpness.lines if line.get_linestyle() == "--"]
    assert dashed == [[6.5, 6.5], [3.0, 3.0]]
    assert share.lines[1].get_ydata().tolist() == pytest.approx([1 / 3, 1.05, 1.05])
    assert len(loss.lines) == 2
