"""The studies on a tiny problem: the order of every scheme, its cost, and who leaves the flow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from eosflow.datasets.dice import Dice
from eosflow.networks.mlp import MLPSettings
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.runs.spec import RunSpec
from eosflow.studies.testbeds import DICE
from eosflow.studies.transient import rows as transient
from eosflow.studies.work_precision import rows as work_precision
from eosflow.workflow import config
from eosflow.workflow.expand import expand

STEPS = (0.05, 0.025, 0.0125)


def tiny() -> tuple[RunSpec, MLPObjective]:
    """A smooth flow (λ₁ about 5), with pairs so exact that the scheme's error is all there is."""
    euler = ExponentialEuler(eigen_tolerance=1e-6, eigen_dtype="float64", max_block_products=1000)
    spec = dataclasses.replace(
        DICE,
        data=Dice(image_size=4),
        network=MLPSettings(width=8, depth=3),
        n=12,
        optimizer=euler,
    )
    stream = torch.Generator().manual_seed(0)
    inputs = torch.rand(spec.n, 16, generator=stream, dtype=torch.float64)
    labels = torch.arange(spec.n) % spec.outputs
    network = spec.network.build(spec.shape, spec.outputs)
    return spec, MLPObjective(network, spec.criterion, inputs, labels)


@pytest.mark.slow
def test_errors_fall_with_the_order_of_the_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_precision, "STEP_SIZES", STEPS)
    end = work_precision.FLOW_TIMES[0]
    rows = pd.DataFrame(work_precision.study(*tiny(), (end,))).set_index("scheme")
    for scheme, order in (("exponential Euler", 1), ("exponential Heun", 2), ("RK4", 4)):
        steps, errors, gradients = (
            rows.loc[scheme, name].tolist() for name in ("step", "relative_error", "gradients")
        )
        slope = np.log(errors[-1] / errors[-2]) / np.log(steps[-1] / steps[-2])
        assert slope == pytest.approx(order, abs=0.15 * order), scheme
        # One gradient a step, two, four: steps end at the flow time, none is rejected here.
        if scheme != "RK4":
            assert gradients == pytest.approx([order * end / step for step in STEPS])
        else:
            assert all(count % 4 == 0 for count in gradients)


def test_the_problem_is_solved_with_the_papers_settings() -> None:
    root = Path(__file__).parent.parent
    small = {
        "select": ["dice-ce"],
        "networks": {"mlp": {"width": 64}},
        "optimizers": {"exponential-euler": {"eigen_dtype": "float64"}},
        "datasets": {"dice": {"image_size": 16, "point": 16}},
        "experiments": {"dice-ce": {"n": [60], "target_loss": 0.02}},
    }
    first = next(iter(expand(config.load([root / "config.yaml"], small)).values()))
    ours, theirs = DICE.to_record(), first.to_record()
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different == {"experiment"}


def test_at_the_start_only_the_scheme_with_long_steps_leaves_the_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transient, "END", 0.3)
    spec, smooth = tiny()
    # Large inputs, for a λ₁ of about 100: ten times what steps of 0.1 can follow.
    steep = MLPObjective(smooth.network, spec.criterion, 10 * smooth.inputs, smooth.targets)
    euler = spec.optimizer.model_copy(update={"max_step_size": 0.1})
    frame = pd.DataFrame(transient.study(dataclasses.replace(spec, optimizer=euler), steep))
    courses = dict(list(frame.groupby("scheme")))
    reference = courses.pop("adaptive, tolerance 0.0001")
    apart = {}
    for scheme, course in courses.items():
        assert (course["loss"].diff().dropna() <= 0).all(), scheme
        assert course["iteration"].tolist()[:4] == [0, 1, 2, 3], scheme
        ends = pd.concat([reference, course]).groupby("scheme").last()
        now, then = ends.loc[scheme], ends.loc["adaptive, tolerance 0.0001"]
        # Gradient descent ends within a step of it, the others exactly there.
        assert now["flow_time"] == pytest.approx(0.3, rel=2e-3), scheme
        apart[scheme] = abs(now["sharpness_hessian"] / then["sharpness_hessian"] - 1)
    assert max(apart["adaptive, tolerance 0.01"], apart["gradient descent"]) < 0.01
    assert apart["exponential Euler"] > 0.1
