"""A run that is saved and taken up again is to the bit what it is without a break."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from own_modules import data_of, mlp

import eosflow
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.batches import BATCHES

MEASURE = [
    eosflow.TopEigenvalues(k=2, every=3),
    eosflow.Distance(),  # also at the last
    eosflow.Accuracy(every=2),
    eosflow.SpectralDensity(probes=2, steps=4, every=5),
]


@functools.cache
def problem(seed: int = 0) -> eosflow.Problem:
    return eosflow.Problem(mlp(), "cross_entropy", data_of(seed=seed))


def followed(optimizer: Any, steps: int, **settings: Any) -> eosflow.Run:
    known: Any = {"measure": MEASURE, "held_out": data_of(seed=5), "snapshots": (0, 4, 9)}
    return eosflow.follow(problem(), optimizer, steps=steps, **{**known, **settings})


def check(optimizer: Any, path: Path, **settings: Any) -> None:
    whole = followed(optimizer, 11, **settings)
    followed(optimizer, 6, **settings).save(path)
    resumed = followed(optimizer, 11, resume=path, **settings)
    assert torch.equal(resumed.theta, whole.theta)
    assert (resumed.loss, resumed.stopped) == (whole.loss, whole.stopped)
    pd.testing.assert_frame_equal(resumed.trajectory, whole.trajectory, check_exact=True)
    assert list(resumed.measurements) == list(whole.measurements)
    for name, frame in whole.measurements.items():
        pd.testing.assert_frame_equal(resumed.measurements[name], frame, check_exact=True)
    assert list(resumed.snapshots) == list(whole.snapshots) == [0, 4, 9]
    for step, theta in whole.snapshots.items():
        assert torch.equal(resumed.snapshots[step], theta)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    check(OPTIMIZERS[name].example(), tmp_path / "run.safetensors")


@pytest.mark.parametrize("name", BATCHES)
def test_all_batches_go_on_to_the_bit(name: str, tmp_path: Path) -> None:
    batches = BATCHES[name].example()
    if "size" in type(batches).model_fields:
        batches = batches.model_copy(update={"size": 3})
    optimizer = eosflow.GradientDescent(learning_rate=0.1, momentum=0.9, cosine_steps=11)
    check(optimizer, tmp_path / "run.safetensors", batches=batches, seed=3)


def test_snapshots_are_the_weights_at_their_steps() -> None:
    optimizer = eosflow.GradientDescent(learning_rate=0.1)
    run = followed(optimizer, 9, measure=[])
    assert torch.equal(run.snapshots[0], problem().theta)
    assert torch.equal(run.snapshots[4], followed(optimizer, 4, measure=[]).theta)
    assert torch.equal(run.snapshots[9], run.theta)


def test_what_is_refused(tmp_path: Path) -> None:
    path, descent = tmp_path / "run.safetensors", eosflow.GradientDescent(learning_rate=0.1)
    with pytest.raises(eosflow.UserError, match=r"no file .*run\.save\(path\)"):
        followed(descent, 3, resume=path)
    followed(descent, 3).save(path)
    other = eosflow.GradientDescent(learning_rate=0.2)
    with pytest.raises(eosflow.UserError, match=r"made with optimizer .*Give the same"):
        followed(other, 5, resume=path)
    with pytest.raises(eosflow.UserError, match="made with seed 0, and 1 was given"):
        followed(descent, 5, resume=path, seed=1)
    with pytest.raises(eosflow.UserError, match="top-eigenvalues with other settings"):
        followed(descent, 5, resume=path, measure=[eosflow.TopEigenvalues(k=1, every=3)])
    with pytest.raises(eosflow.UserError, match=r"the loss is .* loss and data of that run"):
        eosflow.follow(problem(seed=1), descent, steps=5, resume=path)
    wide = torch.nn.Linear(6, 3)
    with pytest.raises(eosflow.UserError, match="53 parameters, and this one has 21"):
        own = eosflow.Problem(wide, "cross_entropy", data_of())
        eosflow.follow(own, descent, steps=5, resume=path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(eosflow.UserError, match="damaged"):
        followed(descent, 5, resume=path)
