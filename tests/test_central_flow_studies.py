"""The studies of central flows and of SGD's edge: what they count, and their verdicts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_archives import cifar_members, tar_of
from test_central_flow import cubic

from eosflow.analysis.claims import AS_EXPECTED, CANNOT_TELL, CONTRADICTED, HOLDS, UNEXPECTED
from eosflow.datasets.base import Resources
from eosflow.datasets.cifar import CIFAR10
from eosflow.datasets.subsets import draw_rows
from eosflow.networks.mlp import MLPSettings
from eosflow.objectives import make
from eosflow.optimizers.central_flow import CentralFlow
from eosflow.optimizers.gradient import GradientDescent
from eosflow.studies import STUDIES
from eosflow.studies.base import CENTRAL, DESCENT, FLOW, SHAKEN
from eosflow.studies.central_flow.methods import Shaken
from eosflow.studies.central_flow.rows import (
    Oscillating,
    Problem,
    mean_between,
    smooth,
    study,
)
from eosflow.studies.central_flow_cifar10 import rows as photographs
from eosflow.studies.stochastic_edge import rows as stochastic_edge
from eosflow.studies.testbeds import cheb


def test_of_a_cycle_the_observed_and_the_predicted_are_those_known() -> None:
    v, eta, y = 0.05, 0.5, 2.0
    objective, _ = cubic(v, y)
    start = torch.tensor([math.sqrt(v / y), y], dtype=torch.float64)
    seen = Oscillating(objective, GradientDescent(learning_rate=eta), start, 20, range(1, 3))
    # ½x²y² − vy + 1 with x² = v/y.
    exact = {"variance": v / y, "loss": 1 - v * y / 2, "mean_loss": 1 - v * y / 2}
    facts = seen.facts(1)
    assert {name: facts[name] for name in exact} == pytest.approx(exact)
    centre = torch.tensor([0.0, y], dtype=torch.float64)
    torch.testing.assert_close(seen.midpoint(2), centre)
    assert (seen.mean(1) - centre).norm().item() == pytest.approx(math.sqrt(v / y) / 21)
    assert seen.marks == [1, 2]
    problem = Problem("quartic", (0,), (eta,), end=20.0, every=10.0)
    _, flow = smooth(objective, CentralFlow(learning_rate=eta), centre, problem)
    assert flow.facts["variance"] == pytest.approx(v / y, rel=1e-3)
    assert flow.facts["mean_loss"] == pytest.approx(1 - v * y / 2, rel=1e-4)
    assert flow.facts["sharpness"] == pytest.approx(2 / eta, rel=1e-5)
    assert flow.facts["rank"] == 1


def test_below_the_edge_all_three_are_at_one_place() -> None:
    problem = Problem("cheb-4", (0,), (0.1,), end=12.0, every=6.0)
    frame = pd.DataFrame(study(problem, cheb()))
    assert list(frame["method"]) == [DESCENT, CENTRAL, FLOW] * 2
    smoothed = frame[frame["method"] != DESCENT]
    limits = {"distance": 0.02, "midpoint_distance": 0.05, "rank": 0.5}
    assert (smoothed[list(limits)] < pd.Series(limits)).all(axis=None)
    assert frame.groupby("flow_time")["sharpness"].agg(np.ptp).max() < 0.02


def test_photographs_are_those_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = {f"data_batch_{number}.bin": 20 for number in range(1, 6)}
    monkeypatch.setattr(CIFAR10, "training", batches)
    spec = dataclasses.replace(photographs.SPEC, n=30, network=MLPSettings(width=3, depth=2))
    short = Problem("CIFAR-10", (0,), (1e-5,), end=1e-3, every=5e-4)
    monkeypatch.setattr(photographs, "SPEC", spec)
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", short)
    archive = tar_of(tmp_path / "archive.tar.gz", cifar_members(20))
    frame = pd.DataFrame(STUDIES["central-flow-cifar10"].rows(archive))
    assert list(frame["method"]) == [DESCENT, CENTRAL, FLOW] * 2
    # A step of descent from the same start, on the photographs as the data set reads them.
    pool = CIFAR10(scaling="standardised").open(Resources(archive, tmp_path))
    rows = draw_rows(spec.dataset, 0, 100, 30)
    inputs = torch.from_numpy(pool.inputs(rows)).double()
    network = spec.network.build((3, 32, 32), 10)
    objective = make(network, spec.criterion, inputs, torch.from_numpy(pool.labels[rows]))
    theta = objective.network.initialize(0)
    for _ in range(50):
        theta = theta - 1e-5 * objective.evaluate(theta).gradient
    assert frame["loss"][0] == pytest.approx(objective.evaluate(theta).loss, rel=1e-6)


def test_means_between_are_those_of_the_straight_lines() -> None:
    times, values = np.array([0.0, 1.0, 3.0]), np.array([2.0, 4.0, 0.0])
    assert mean_between(0.0, 3.0, times, values) == pytest.approx((3 + 4) / 3)
    assert mean_between(1.0, 3.0, times, values) == pytest.approx(2)


def test_noise_has_its_deviation_and_is_the_same_again() -> None:
    objective = cheb()
    theta = objective.network.initialize(0)
    evaluation = objective.evaluate(theta)
    shaken, plain = Shaken(learning_rate=0.3, noise=1e-3), GradientDescent(learning_rate=0.3)
    state = shaken.init(objective, theta, 0)
    first, again, still = (one.step(evaluation, state) for one in (shaken, shaken, plain))
    assert torch.equal(first.theta, again.theta)
    assert (first.theta - still.theta).std().item() == pytest.approx(1e-3, rel=0.15)
    assert not torch.equal(shaken.step(evaluation, first.state).theta, first.theta)


def runs(distance: float, variance: float, rank: int = 1, seeds: int = 8) -> pd.DataFrame:
    """Two looks per seed, the second of which counts."""
    rows = []
    for seed in range(seeds):
        for time in (1.0, 2.0):
            for method, apart, spread in (
                (DESCENT, math.nan, 1.0),
                (CENTRAL, distance * (1 + 0.01 * seed), variance),
                (FLOW, 1.0, 0.0),
            ):
                place = {"problem": "p", "learning_rate": 0.1, "seed": seed, "flow_time": time}
                numbers = {"distance": apart, "variance": spread, "mean_loss": 1.0, "rank": rank}
                rows.append({**place, "method": method, **numbers})
    return pd.DataFrame(rows)


def test_verdicts_on_central_flows() -> None:
    judge = STUDIES["central-flow"].judge

    def verdicts(frame: pd.DataFrame) -> list[str]:
        return list(judge(frame)["verdict"])

    assert verdicts(runs(0.05, 1.1)) == [AS_EXPECTED, HOLDS, HOLDS]
    assert verdicts(runs(0.3, 1.5)) == [UNEXPECTED, CONTRADICTED, HOLDS]
    assert verdicts(runs(0.098, 1.1))[0] == CANNOT_TELL
    # Descent with noise is judged beside it, by its own distance, variance and loss.
    frame = runs(0.3, 1.1)
    noisy = frame[frame["method"] == DESCENT].assign(method=SHAKEN, variance=2.0)
    both = pd.concat([frame.assign(distance_with_noise=frame["distance"] / 6), noisy])
    flows = both["method"] == FLOW
    both.loc[flows, "distance_with_noise"] = both.loc[flows, "distance"]
    assert verdicts(both) == [UNEXPECTED, HOLDS, HOLDS, AS_EXPECTED, CONTRADICTED, HOLDS]
    # Before the second half from the edge on nothing counts.
    early = frame.assign(distance=np.where(frame["flow_time"] < 2, 5.0, frame["distance"]))
    assert judge(early)["measured"].tolist() == judge(frame)["measured"].tolist()
    # Where nothing oscillates there is nothing to say.
    assert judge(runs(0.05, 1.1, rank=0))["seeds"].max() == 0


def test_verdicts_on_sgd() -> None:
    rows = [
        {"batch": batch, "seed": seed, "learning_rate": 0.5, "iteration": step}
        | {"batch_sharpness": held, "sharpness": sharp}
        for batch, held, sharp in ((4, 4.0, 1.0), (8, 2.0, 2.0), (16, 0.1, 4.2))
        for seed in range(8)
        for step in (1, 2)
    ]
    found = STUDIES["stochastic-edge"].judge(pd.DataFrame(rows))
    assert list(found["verdict"]) == [HOLDS, HOLDS, HOLDS, CONTRADICTED, HOLDS, HOLDS]


def test_with_all_examples_batch_sharpness_is_the_curvature_along_the_gradient() -> None:
    objective = stochastic_edge.signs()
    rows = list(stochastic_edge.study(objective, objective.examples, 0, range(3, 7, 3)))
    assert [row["iteration"] for row in rows] == [3, 6]
    theta = objective.network.initialize(0)
    for _ in range(3):
        theta = theta - rows[0]["learning_rate"] * objective.evaluate(theta).gradient
    evaluation = objective.evaluate(theta)
    g, size = evaluation.gradient, len(theta)
    assert rows[0]["loss"] == pytest.approx(evaluation.loss)
    dense = evaluation.hessian(torch.eye(size, dtype=torch.float64))
    assert rows[0]["sharpness"] == pytest.approx(torch.linalg.eigvalsh(dense)[-1].item(), rel=1e-5)
    assert rows[0]["batch_sharpness"] == pytest.approx((g @ dense @ g / (g @ g)).item())
    assert "minibatch_sharpness" in rows[1] and "minibatch_sharpness" not in rows[0]
