"""The studies of gradient methods at their own edge: numbers against dense matrices, verdicts."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from verdicts import AGAINST, FOR, drawn

from eosflow.analysis import claims
from eosflow.analysis.claims import NOT_RUN
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.preconditioned import RMSprop
from eosflow.studies import STUDIES
from eosflow.studies.instabilities import rows as instabilities
from eosflow.studies.optimizer_edges import rows as optimizer_edges
from eosflow.studies.schedules import rows as schedules
from eosflow.studies.testbeds import Case, Tracker, cheb, quadratic

OBJECTIVE = cheb()


def loss(theta: Tensor) -> Tensor:
    """cheb-4, written another way."""
    first, bias, last = theta.split(100)
    outputs = torch.tanh(OBJECTIVE.inputs * first + bias) @ last[:, None]
    return 0.5 * (outputs - OBJECTIVE.targets).square().mean()


dense = partial(torch.autograd.functional.hessian, loss)


def test_the_preconditioned_sharpness_is_that_of_the_dense_matrix() -> None:
    """Of torch's own RMSprop, at each look."""
    case = Case("RMSprop", RMSprop(learning_rate=5e-4), 80)
    frame = pd.DataFrame(optimizer_edges.study(case, OBJECTIVE, 0))
    assert frame["iteration"].tolist() == list(range(2, 81, 2))
    assert (frame["residual"] <= 1e-3).all()
    variable = OBJECTIVE.network.initialize(0).requires_grad_()
    oracle = torch.optim.RMSprop([variable], lr=5e-4)
    for step in range(81):
        here = variable.detach().clone()
        oracle.zero_grad()
        loss(variable).backward()
        oracle.step()
        if step in (2, 40, 80):
            divisor = oracle.state[variable]["square_avg"].sqrt() + 1e-8
            # Not symmetric: P⁻¹𝓗 itself.
            values = torch.linalg.eigvals(dense(here) / divisor[:, None])
            assert values.imag.abs().max() < 1e-6 * values.real.max()
            found = frame.loc[frame["iteration"] == step, "sharpness"].item()
            assert found == pytest.approx(values.real.max().item(), rel=1e-5)


def test_a_tracker_says_when_it_did_not_find_them() -> None:
    matrix = torch.diag(torch.arange(1.0, 101.0, dtype=torch.float64))
    tracker = Tracker(2, 0.0)
    with pytest.raises(RuntimeError, match="residual of an eigenpair"):
        tracker.find(lambda block, out: out.copy_(matrix @ block), matrix[0])


def test_schedules_are_seen_with_the_rate_of_each_step() -> None:
    descent = GradientDescent(learning_rate=0.6, drop_at=(50,), drop_factor=0.5, weight_decay=1e-3)
    frame = pd.DataFrame(schedules.study(Case("drop", descent, 100), OBJECTIVE, 1))
    assert frame["learning_rate"].tolist() == [0.6, 0.6, 0.3, 0.3, 0.3]
    values = torch.linalg.eigvalsh(dense(OBJECTIVE.network.initialize(1)))
    assert frame["sharpness"].iloc[0] == pytest.approx(values[-1].item(), rel=1e-5)
    # ½ E(T₄ − mean)² of the targets.
    targets = np.cos(4 * np.arccos(np.linspace(-1, 1, 20)))
    assert frame["constant_loss"].iloc[0] == pytest.approx(targets.var() / 2)


def edge_course(optimizer: str, edge: float, level: float, seed: int) -> pd.DataFrame:
    climb = np.minimum(np.linspace(0.2, 3, 40), level) * edge / 0.5
    rows = {"seed": seed, "optimizer": optimizer, "learning_rate": 0.5, "edge": edge}
    return pd.DataFrame(rows | {"iteration": np.arange(1, 41), "sharpness": climb})


def test_an_optimizer_is_held_to_its_own_edge_and_no_other() -> None:
    frame = pd.concat(
        edge_course(name, edge, level, seed)
        for name, edge, level in (("A", 38.0, 1.02), ("B", 2.0, 1.3))
        for seed in range(6)
    )
    verdicts = STUDIES["optimizer-edges"].judge(frame)
    assert [v in FOR for v in verdicts["verdict"]] == [True, True, False, True]
    assert verdicts["verdict"][2] in AGAINST
    assert verdicts["measured"].tolist()[0] == 1.02
    assert all(f"edge {edge}/η" in verdicts["settings"][2 * n] for n, edge in enumerate((38, 2)))
    for axes, edge in zip(drawn("optimizer-edges", frame).axes, (38.0, 2.0), strict=True):
        *curves, line = axes.lines
        assert line.get_ydata()[0] == edge and len(curves) == 6
        # λ₁(P⁻¹𝓗)η itself: 0.2 of the edge at first.
        assert curves[0].get_ydata()[0] == pytest.approx(0.2 * edge)


def schedule_course(seed: int, follows: bool) -> pd.DataFrame:
    """Each schedule; λ₁ follows its edge, or is 5 throughout."""
    steps = np.arange(0, 1001, 50)
    fall = np.where(steps < 1000, 0.6 * np.cos(np.pi / 2 * steps / 1000) ** 2, 0)
    climb = np.where(steps < 400, 3.4, np.minimum(2 + steps / 200, 6.7))
    held, warm = np.full(21, 2.02 / 0.6), 0.8 * (steps + 1) / 1001
    runs = [
        pd.DataFrame(
            {"seed": seed, "case": case, "iteration": steps, "learning_rate": rate}
            | {"weight_decay": decay, "sharpness": sharpness if follows else 5.0}
            | {"constant_loss": 0.25, "loss": 0.2502 if follows else 0.1}
        )
        for case, rate, decay, sharpness in (
            ("drop", np.where(steps < 400, 0.6, 0.3), 0.0, climb),
            ("warm-up", warm, 0.0, np.minimum(4, 2.02 / warm)),
            ("cosine", fall, 0.0, 3.4 + steps / 1000),
            ("weight decay 0.001", 0.6, 1e-3, held),
            ("weight decay 0.01", 0.6, 1e-2, held),
        )
    ]
    return pd.concat(runs)


def test_schedules_are_judged_by_the_edge_of_each_step() -> None:
    follows = pd.concat(schedule_course(seed, True) for seed in range(6))
    verdicts = STUDIES["schedules"].judge(follows).set_index("claim")
    assert set(verdicts["verdict"]) <= FOR
    assert verdicts.loc["below-at-the-drop", "measured"] == 1.2
    assert verdicts.loc["cosine-sharpens", "measured"] == pytest.approx(1.294)
    drop, _, cosine, *_ = drawn("schedules", follows).axes
    moving = drop.lines[-1]
    assert moving.get_ydata().tolist() == pytest.approx([2 / 0.6] * 8 + [2 / 0.3] * 13)
    assert len(drop.lines) == 6 + 1
    assert len(cosine.lines[-1].get_xdata()) == 20  # the last step has no edge
    fixed = pd.concat(schedule_course(seed, False) for seed in range(6))
    assert STUDIES["schedules"].judge(fixed)["verdict"].isin(FOR).sum() == 1  # 5 · 0.3 is below 2


def test_the_quadratic_diverges_beyond_a_tenth_and_nowhere_else() -> None:
    frame = pd.DataFrame(instabilities.quadratic_rows())
    # Exact: θ₁ ← (1 − 20η)θ₁, θ₂ ← (1 − η)θ₂; 𝓛 = 10 θ₁² + ½ θ₂².
    rate, steps = frame["learning_rate"].to_numpy(), 2 * instabilities.QUADRATIC_STEPS
    exact = (10 * (1 - 20 * rate) ** steps + (1 - rate) ** steps / 2) / 10.5
    assert frame["growth"].to_numpy() == pytest.approx(exact, rel=1e-9)
    for expected in ((0, claims.HOLDS), (1, claims.CONTRADICTED)):
        verdict = STUDIES["instabilities"].judge(frame.assign(seed=np.nan)).iloc[0]
        assert (verdict["measured"], verdict["verdict"]) == expected
        frame.loc[frame["learning_rate"] == 0.099, "growth"] = 2.0


def test_an_oscillation_is_what_alternates_and_no_drift() -> None:
    time = torch.arange(12, dtype=torch.float64)
    drift = 3 + time - 0.2 * time**2 + 0.01 * time**3
    alternating = 0.5 * (-1.0) ** time
    direction = torch.tensor([0.0, 1.0], dtype=torch.float64)
    thetas = torch.stack([time, drift + alternating], dim=1)
    found = instabilities.oscillation(list(thetas), direction)
    assert found[2:-2] == pytest.approx(alternating[2:-2].tolist())
    assert found[:2] + found[-2:] == [0.0] * 4


def test_changes_of_the_hessian_are_those_of_the_dense_matrices() -> None:
    thetas = [OBJECTIVE.network.initialize(seed) for seed in (0, 1)]
    matrices = [dense(theta) for theta in thetas]
    found = [
        Tracker(instabilities.PAIRS, 1e-7).find(lambda v, out, m=m: out.copy_(m @ v), theta)
        for m, theta in zip(matrices, thetas, strict=True)
    ]
    path = instabilities.Path(thetas, [0.0, 0.0], dict(enumerate(found)))
    row = instabilities.compared(OBJECTIVE, path, 0, 1)
    difference = matrices[1] - matrices[0]
    before, after = (torch.linalg.eigh(matrix).eigenvectors.flip(1) for matrix in matrices)
    turned = (before.T @ difference @ before).square() / difference.square().sum()
    cosines = before[:, :5].T @ after[:, :5]
    expected = {
        "change": difference.norm() / matrices[0].norm(),
        "within": turned[:5, :5].sum(),
        "across": 2 * turned[:5, 5:].sum(),
        "bulk": turned[5:, 5:].sum(),
        "turned": 1 - cosines[0, 0].abs(),
        "lost": 1 - cosines.square().sum() / 5,
    }
    assert row == pytest.approx({k: value.item() for k, value in expected.items()}, rel=1e-3)


def test_an_instability_that_does_not_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instabilities, "LEARNING_RATE", 0.11)
    monkeypatch.setattr(instabilities, "PAIRS", 2)
    monkeypatch.setattr(instabilities, "MOST", 30)
    assert not list(instabilities.study(quadratic(instabilities.EIGENVALUES), 0))


def instability(seed: int, wobbles: bool) -> pd.DataFrame:
    """A swing that grows by a fifth per step, and what is compared every ten steps."""
    steps = np.arange(-40, 60)
    place = np.select([steps < 0, steps < 40], ["stable", "unstable"], "after")
    size = np.where(place == "unstable", 1e-6 * 1.2 ** (steps - 10), 1e-6)
    course = pd.DataFrame({"part": "course", "iteration": steps, "place": place})
    course["swing"] = size * (-1.0) ** steps if wobbles else size[::-1]
    seen = course["iteration"] % 10 == 0
    many = wobbles & (course["place"] == "unstable")
    for column in ("change", "turned", "lost"):
        course.loc[seen, column] = np.where(many, 0.7, 0.1)[seen]
    course.loc[seen, ["within", "across", "bulk"]] = [0.5, 0.3, 0.2] if wobbles else [0.1, 0.1, 0.8]
    alpha = np.array([-1.0, 0.0, 1.0, 2.0])
    slopes = (-0.1, 0.3, -0.1) if wobbles else (-0.1, -0.1, 0.1)
    scans = []
    for name, slope in zip(("stable", "unstable", "after"), slopes, strict=True):
        scan = pd.DataFrame({"alpha": alpha, "loss": 1 + slope * alpha}).assign(place=name)
        bend = 0 if wobbles else alpha**2
        scans.append(scan.assign(part="scan", quadratic_loss=scan["loss"] + bend))
    return pd.concat([course, *scans]).assign(seed=seed, learning_rate=0.4)


def test_an_instability_is_judged_against_its_own_stable_phase() -> None:
    quadratic = pd.DataFrame({"part": "quadratic", "learning_rate": [0.1, 0.2], "growth": [1, 9]})
    frame = pd.concat([quadratic, *(instability(seed, True) for seed in range(6))])
    verdicts = STUDIES["instabilities"].judge(frame).set_index("claim")
    assert set(verdicts["verdict"]) <= FOR
    names = ["hessian-varies", "in-the-top-directions", "step-rises-in-it"]
    assert verdicts.loc[names, "measured"].tolist() == [7, 0.8, 0.3]
    figure = drawn("instabilities", frame.assign(sharpness=5.1, second=3.0))
    sharpness, swing, change, *scans = figure.axes
    (shade,) = swing.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (0, 39)
    assert sharpness.lines[0].get_ydata()[0] == pytest.approx(0.4 * 5.1)
    assert swing.lines[0].get_ydata()[0] == pytest.approx(1e-6)
    assert sorted(set(change.lines[0].get_ydata())) == pytest.approx([0.1, 0.7])
    for axes, slope in zip(scans, (-0.1, 0.3, -0.1), strict=True):
        loss, quadratic_loss, start, end = (line.get_ydata().tolist() for line in axes.lines)
        assert loss == quadratic_loss == pytest.approx([1 + slope * a for a in (-1, 0, 1, 2)])
        assert [*start, *end] == pytest.approx([1.0, 1 + slope])
        assert axes.get_title().endswith("2.040")
    calm = pd.concat([quadratic, *(instability(seed, False) for seed in range(6))])
    verdicts = STUDIES["instabilities"].judge(calm).set_index("claim")
    agree = verdicts[verdicts["verdict"].isin(FOR)].index.tolist()
    assert agree == ["diverges-beyond-a-tenth", "step-falls-before"]
    assert verdicts.loc["alternates", "verdict"] == NOT_RUN  # nothing stands out


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.15])
def test_along_a_step_on_a_quadratic_the_loss_is_known(rate: float) -> None:
    """𝓛 falls by η‖g‖²(α − ½α²ηλ): at ηλ = 2 the step ends as high as it began."""
    theta = torch.tensor([0.3, 0.0], dtype=torch.float64)
    update = torch.tensor([-rate * 20 * 0.3, 0.0], dtype=torch.float64)
    alphas = [-1.0, 0.0, 0.5, 1.0, 2.0]
    square = (20 * 0.3) ** 2
    expected = [10 * 0.3**2 - rate * square * (a - a * a * rate * 20 / 2) for a in alphas]
    found = pd.DataFrame(instabilities.scan(quadratic((20.0, 1.0)), theta, update, alphas))
    assert found["loss"].tolist() == pytest.approx(expected)
    assert found["quadratic_loss"].tolist() == pytest.approx(expected)
    assert found["curvature"].tolist() == pytest.approx([20] * 5)


def test_beyond_a_quadratic_the_scan_is_of_the_loss_itself() -> None:
    theta = OBJECTIVE.network.initialize(0)
    update = -0.4 * OBJECTIVE.evaluate(theta).gradient
    found = pd.DataFrame(instabilities.scan(OBJECTIVE, theta, update, [0.0, 1e-3, 1.0, 8.0]))
    assert found["loss"][3] == pytest.approx(OBJECTIVE.evaluate(theta + 8 * update).loss)
    apart = (found["loss"] - found["quadratic_loss"]).abs()
    assert apart[1] < 1e-9 and apart[3] > 1e-3  # third order in the step
