"""Gradient descent against the flow, and SAM at its own edge: exact numbers, verdicts, drawings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from verdicts import AGAINST, FEW, FOR, drawn, judged

from eosflow.analysis.claims import CANNOT_TELL, NOT_RUN
from eosflow.studies import STUDIES
from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.edge_of_stability.rows import Problem, study
from eosflow.studies.sam_edge import rows as sam_edge
from eosflow.studies.testbeds import cheb, dense, quadratic, sharpness


@pytest.mark.parametrize(("rate", "stable"), [(0.099, True), (0.101, False)])
def test_on_a_quadratic_of_20_and_1_descent_diverges_beyond_a_tenth(
    rate: float, stable: bool
) -> None:
    problem = Problem("quadratic", seeds=(0,), end=100 * rate, every=10 * rate, steps=(10,))
    frame = pd.DataFrame(study(problem, quadratic((20.0, 1.0))))
    assert frame["sharpness"].to_numpy() == pytest.approx(20, rel=1e-3)
    descent = frame[frame["method"] == DESCENT]
    assert descent["iteration"].tolist() == list(range(0, 101, 10))
    # Exact: θ₁ ← (1 − 20η)θ₁, θ₂ ← (1 − η)θ₂ from 1, 1, and 𝓛 = ½ E(x·θ)².
    steps = descent["iteration"].to_numpy()
    loss = 10 * (1 - 20 * rate) ** (2 * steps) + 0.5 * (1 - rate) ** (2 * steps)
    assert descent["loss"].to_numpy() == pytest.approx(loss)
    assert (descent["loss"].iloc[-1] < descent["loss"].iloc[0]) == stable
    flow = frame[frame["method"] == FLOW]
    time = flow["flow_time"].to_numpy()
    expected = 10 * np.exp(-40 * time) + 0.5 * np.exp(-2 * time)
    assert flow["loss"].to_numpy() == pytest.approx(expected, rel=1e-2)
    first = 1 - np.exp([-20 * time[1], -time[1]])
    away = np.array([(1 - 20 * rate) ** 10, (1 - rate) ** 10]) - (1 - first)
    measured = descent["distance"].iloc[1]
    assert measured == pytest.approx(np.linalg.norm(away) / np.linalg.norm(first), rel=2e-2)
    if not stable:
        assert descent["rises"].iloc[-1] > 50


def test_cheb_is_the_problem_of_the_source() -> None:
    objective = cheb()
    assert objective.network.parameters == 300
    theta = objective.network.initialize(0)
    named = objective.network.named(theta)
    # Xavier normal: variance gain² · 2/(fan in + fan out).
    assert named["0.weight"].std().item() == pytest.approx(1.9 * (2 / 101) ** 0.5, rel=0.2)
    assert named["2.weight"].std().item() == pytest.approx((2 / 101) ** 0.5, rel=0.2)
    assert (named["0.bias"] == 0).all()
    x = objective.inputs
    assert torch.equal(x[:, 0], torch.linspace(-1, 1, 20, dtype=torch.float64))
    torch.testing.assert_close(objective.targets, torch.cos(4 * torch.arccos(x)))

    def loss(parameters: Tensor) -> Tensor:
        first, bias, last = parameters.split(100)
        outputs = torch.tanh(x * first + bias) @ last[:, None]
        return 0.5 * (outputs - objective.targets).square().mean()

    assert objective.evaluate(theta).loss == pytest.approx(loss(theta).item())
    dense = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta)).tolist()
    assert sharpness(objective, theta, 0, 0)["sharpness"] == pytest.approx(dense[-1], rel=1e-3)


def course(rate: float, seed: int, held: bool) -> pd.DataFrame:
    """A flow whose λ₁ grows as its time, and a descent that follows to 2/η and is held, or not."""
    time = np.arange(0.0, 41.0)
    edge = 2 / rate
    beyond = time > edge
    rows = {"problem": "made", "seed": seed, "flow_time": time, "residual": 0.0}
    rows |= {"loss": 50.0 - time, "iteration": (time / rate).astype(int)}
    flow = pd.DataFrame(rows).assign(method=FLOW, sharpness=time, rises=0, distance=0.0)
    descent = pd.DataFrame(rows).assign(
        method=DESCENT,
        learning_rate=rate,
        sharpness=np.where(beyond & held, edge * 1.01, time),
        rises=np.where(beyond, 10 * (time - edge), 0),
        distance=np.where(beyond, 0.5, 0.01),
    )
    return pd.concat([flow, descent])


def test_verdicts_take_enough_seeds_on_one_side() -> None:
    def verdicts(rate: float, held: int) -> pd.DataFrame:
        made = pd.concat([course(rate, seed, held=seed < held) for seed in range(6)])
        return judged("edge-of-stability", made)

    held = verdicts(0.1, 6)
    assert set(held["verdict"]) <= FOR
    assert (held["seeds"] == 6).all()
    assert (held["settings"] == "made, η = 0.1, 400 steps, flow time 40").all()
    measured = held["measured"]
    assert measured["flow-passes"] == 2
    assert measured["descent-is-held"] == pytest.approx(2.02, abs=0.01)
    assert measured["leaves-after"] == 50
    assert measured["loss-not-monotone"] == 100  # ten rises per unit of flow time, ten steps
    assert verdicts(0.1, 0).loc["descent-is-held", "verdict"] in AGAINST
    assert verdicts(0.1, 3).loc["descent-is-held", "verdict"] == CANNOT_TELL
    # A flow that never gets there: nothing is said of what happens at the edge.
    below = verdicts(0.01, 6)
    assert below.loc["flow-passes", "verdict"] in AGAINST
    assert below.loc["descent-is-held", ["seeds", "verdict"]].tolist() == [0, NOT_RUN]


def test_descent_is_drawn_beside_the_flow_with_the_edge_of_each_learning_rate() -> None:
    rates = (0.1, 0.2, 0.4)
    made = pd.concat([course(rate, seed, held=True) for rate in rates for seed in (0, 1)])
    made = made[made["flow_time"] % 20 == 0]
    made = made.drop_duplicates(["method", "learning_rate", "seed", "flow_time"])
    largest, loss, distance = drawn("edge-of-stability", made).axes
    assert largest.get_title() == "made, 2 seeds"
    edges = {line.get_ydata()[0] for line in largest.lines if line.get_linestyle() == "--"}
    assert edges == {2 / rate for rate in rates}
    curves = [line.get_xydata().tolist() for line in largest.lines if len(line.get_xdata()) == 3]
    assert curves[:3] == [[[0.0, 0.0], [20.0, 20.0], [40.0, 40.0]]] * 3  # two seeds, their median
    assert (len(curves), len(loss.lines), len(distance.lines)) == (4 * 3, 4 * 3, 3 * 3)


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


def beside_its_edge(seed: int, share: float) -> pd.DataFrame:
    """λ₁ ends at the edge, 6.5, by descent, and at `share` times its edge, 3, by SAM."""
    parts = [
        {"rho": radius, "iteration": [0, 60, 100], "sharpness": [1.0, level, level], "edge": edge}
        for radius, level, edge in ((0.0, 6.5, 6.5), (0.1, 3 * share, 3.0))
    ]
    return pd.concat(map(pd.DataFrame, parts)).assign(seed=seed, loss=0.1)


def test_verdicts_on_sam() -> None:
    held = STUDIES["sam-edge"].judge(pd.concat([beside_its_edge(seed, 1.01) for seed in range(6)]))
    assert held["claim"].tolist() == ["at-its-own-edge"] * 2 + ["less-sharp-than-descent"]
    assert set(held["verdict"]) <= FOR
    assert held["measured"].astype(float).tolist() == pytest.approx([1, 1.01, 0.466], abs=1e-3)
    free = STUDIES["sam-edge"].judge(pd.concat([beside_its_edge(seed, 3.0) for seed in range(6)]))
    assert [v in FOR for v in free["verdict"]] == [True, False, False]
    assert set(free["verdict"][1:]) <= AGAINST
    # A run that diverged has no end to compare.
    gone = pd.concat([beside_its_edge(seed, 1.0) for seed in range(6)])
    gone = gone[(gone["rho"] == 0) | (gone["seed"] > 0) | (gone["iteration"] < 100)]
    assert [v in FOR for v in STUDIES["sam-edge"].judge(gone)["verdict"]] == [True, True, False]
    assert STUDIES["sam-edge"].judge(gone)["verdict"][2] in FEW


def test_the_drawing_of_sam_shows_the_first_seed_with_its_edge() -> None:
    sharpness, share, loss = drawn(
        "sam-edge", pd.concat([beside_its_edge(0, 1.0), beside_its_edge(1, 1.1)])
    ).axes
    solid = [line.get_ydata().tolist() for line in sharpness.lines if line.get_linestyle() == "-"]
    assert solid == [[1.0, 6.5, 6.5], [1.0, 3.0, 3.0]]
    dashed = [line.get_ydata().tolist() for line in sharpness.lines if line.get_linestyle() == "--"]
    assert dashed == [[6.5, 6.5], [3.0, 3.0]]
    assert share.lines[1].get_ydata().tolist() == pytest.approx([1 / 3, 1.05, 1.05])
    assert len(loss.lines) == 2
