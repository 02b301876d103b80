"""Training one's own network: the workflow's numbers, any optimizer, any measurement."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from own_modules import (
    C,
    D,
    convolutional,
    data_of,
    frozen,
    images,
    mlp,
    numbers,
    sampled,
)
from problems import small_spec, write_noise_subset
from torch import nn

import eosflow
from eosflow.measurements import MEASUREMENTS
from eosflow.networks.cnn import CNNSettings
from eosflow.networks.module import ModuleNetwork
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.batches import BATCHES
from eosflow.runs.data import load_data
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder
from eosflow.runs.spec import RunSpec
from eosflow.runs.train import train
from eosflow.storage.files import read_json


def spec_for(**changes: Any) -> RunSpec:
    """A CNN on twelve 10×10 images of noise."""
    network = CNNSettings(channels=1, dense=3, activation="tanh")
    fixed = {"image_size": 10, "n": 12, "network": network, "target_loss": 1e-6, "every": 5}
    return small_spec(**fixed, **changes)


def own_of(spec: RunSpec, path: Path) -> eosflow.Problem:
    """The problem of a workflow's run, with a module that holds its first weights."""
    data = load_data(spec, path)
    network = spec.network.build(spec.shape, spec.outputs)
    theta = network.initialize(spec.init_seed)
    assert isinstance(network, ModuleNetwork)
    with torch.no_grad():
        for parameter, value in zip(
            network.module.parameters(), network.named(theta).values(), strict=True
        ):
            parameter.copy_(value)
    inputs = torch.from_numpy(data.inputs).reshape(-1, *spec.shape)
    return eosflow.Problem(network.module, spec.criterion, (inputs, torch.from_numpy(data.targets)))


CASES = {
    "gradient descent": eosflow.GradientDescent(learning_rate=0.1, momentum=0.9),
    "SGD": eosflow.SGD(learning_rate=0.1, batch_size=5),
    "exponential Euler": eosflow.ExponentialEuler(max_step_size=0.5),
    "the flow at a known error": eosflow.ExponentialRosenbrock(tolerance=1e-2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_has_the_numbers_of_the_workflow(name: str, tmp_path: Path) -> None:
    path = write_noise_subset(tmp_path / "dice-subset0.npz", 0, images=12, pixels=100)
    optimizer: Any = CASES[name]
    plain, batch = optimizer, BATCHES["full"]()
    if isinstance(optimizer, eosflow.SGD):
        plain = eosflow.GradientDescent(learning_rate=optimizer.learning_rate)
        batch = eosflow.Shuffled(size=optimizer.batch_size)
    spec = spec_for(optimizer=plain, batch=batch, init_seed=3, max_iterations=4)
    train(spec, path, tmp_path / "run", threads=1)
    measurement = eosflow.TopEigenvalues(k=2)
    measure_run(tmp_path / "run", path, measurement)
    run = eosflow.follow(own_of(spec, path), optimizer, steps=4, seed=3, measure=[measurement])
    expected = pd.read_parquet(tmp_path / "run" / "trajectory.parquet")
    # Gradients to the last bit; products, in float32 here, go another way.
    exact = isinstance(plain, eosflow.GradientDescent)
    pd.testing.assert_frame_equal(
        run.trajectory, expected, check_exact=exact, rtol=0 if exact else 2e-3
    )
    frame = run.measurements["top-eigenvalues"]
    assert list(frame["iteration"]) == [0, 4]
    for row in frame.to_dict("records"):
        place = tmp_path / "run" / measured_folder(measurement)
        stored = read_json(place / f"step{row['iteration']:06d}.json")
        assert row == pytest.approx({key: stored[key] for key in row}, rel=1e-6)
    record = read_json(tmp_path / "run" / "run.json")
    assert run.stopped == record["stopped"]
    assert run.loss == pytest.approx(record["final_loss"], rel=0 if exact else 1e-7)


@pytest.mark.registry
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_registry_follows_a_module(name: str) -> None:
    kind = getattr(eosflow, OPTIMIZERS[name].__name__)
    assert kind is OPTIMIZERS[name]
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    run = eosflow.follow(own, kind.example(), steps=3)
    assert len(run.trajectory) == 3
    assert run.loss < own.loss
    assert (run.trajectory["loss"].iloc[0]) == own.loss
    after = eosflow.Problem(run.module, "cross_entropy", data_of())
    assert after.loss == pytest.approx(run.loss, rel=1e-12)


@pytest.mark.registry
def test_every_measurement_of_the_registry_is_taken_on_the_way() -> None:
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    measure = [getattr(eosflow, kind.__name__).example() for kind in MEASUREMENTS.values()]
    other = data_of(seed=5)
    second = eosflow.TopEigenvalues(k=1, matrix="residual", every=1)
    run = eosflow.follow(
        own,
        eosflow.GradientDescent(learning_rate=0.1),
        steps=2,
        measure=[*measure, second],
        held_out=other,
    )
    assert list(run.measurements) == [*(each.name for each in measure), "top-eigenvalues-2"]
    for name, frame in run.measurements.items():
        assert list(frame["iteration"]) == ([0, 1, 2] if name.endswith("-2") else [0, 2])
    taken = run.measurements["decomposition"]
    assert taken["loss"].iloc[0] == own.loss
    assert taken["loss"].iloc[-1] == run.loss
    trained = eosflow.Problem(run.module, "cross_entropy", other)
    assert run.measurements["accuracy"]["held_out_loss"].iloc[-1] == pytest.approx(trained.loss)
    with pytest.raises(eosflow.UserError, match=r"Accuracy needs .* held_out="):
        eosflow.follow(
            own, eosflow.GradientDescent(learning_rate=0.1), steps=2, measure=[eosflow.Accuracy()]
        )


def test_where_a_run_ends() -> None:
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    flow = eosflow.ExponentialRosenbrock(tolerance=1e-2)
    run = eosflow.follow(own, flow, until_flow_time=0.7, steps=50)
    assert run.stopped == "flow_time"
    assert run.trajectory["step_size"].sum() == pytest.approx(0.7, rel=1e-12)
    goal = 0.9 * own.loss
    run = eosflow.follow(own, flow, until_loss=goal)
    assert run.stopped == "target_loss" and 0.99 * goal < run.loss <= goal
    # Squared error with a rate far above 2/λ₁ grows until it is no number.
    line = eosflow.Problem(nn.Linear(D, C), "squared_error", numbers())
    run = eosflow.follow(line, eosflow.GradientDescent(learning_rate=1e3), steps=500)
    assert run.stopped == "diverged" and math.isnan(run.loss)


def test_the_trained_module_is_the_users_but_for_its_weights() -> None:
    module = sampled(convolutional())
    own = eosflow.Problem(module, "cross_entropy", images)
    run = eosflow.follow(own, eosflow.SGD(learning_rate=0.1, batch_size=3), steps=4)
    assert type(run.module) is type(module) and run.module[1].inplace
    assert not torch.equal(run.module[0].weight.float(), module[0].weight)
    assert torch.equal(run.module[2].norm.running_mean.float(), module[2].norm.running_mean)
    fixed = eosflow.follow(
        eosflow.Problem(frozen(), "cross_entropy", data_of()),
        eosflow.GradientDescent(learning_rate=0.1), steps=2,
    ).module  # fmt: skip
    assert torch.equal(fixed[0].weight.float(), frozen()[0].weight)


def test_progress_is_quiet_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    optimizer = eosflow.GradientDescent(learning_rate=0.1)
    eosflow.follow(own, optimizer, steps=2)
    assert capsys.readouterr() == ("", "")
    for end in ({"steps": 2}, {"until_flow_time": 0.2}, {"until_loss": 1.0, "steps": 2}):
        eosflow.follow(own, optimizer, progress=True, **end)  # type: ignore[arg-type]
    assert "follow: 2.00/2.00 (100 %)" in capsys.readouterr().err
