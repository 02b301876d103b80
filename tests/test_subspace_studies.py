"""The studies of steps in the sharpest directions, in small, and their verdicts."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
from verdicts import AGAINST, FOR, drawn, judged

from eosflow.studies.escaping import INITIALISATION, ONLY, REMOVED, WHOLE
from eosflow.studies.escaping import rows as escaping
from eosflow.studies.subspaces import BEFORE, BULK, DESCENT, DOMINANT, NUDGED, PUSHED, STALE
from eosflow.studies.subspaces import rows as subspaces
from eosflow.studies.testbeds import quadratic

# 𝓗 has these eigenvalues; the batches of `escaping` are single inputs, each along one of them.
EIGENVALUES = (4.0, 2.0, 1.0)


def test_from_the_switch_on_each_method_takes_its_part_of_the_step() -> None:
    problem = subspaces.Problem(
        seeds=(0,), learning_rate=0.45, before=4, after=40, every=2, search=2, k=1
    )
    frame = pd.DataFrame(subspaces.rows(problem, quadratic(EIGENVALUES)))
    assert (frame["sharpness"] - 4).abs().max() < 4e-3
    # Exact: each direction is multiplied by 1 − ηaλ in each step, a the factor on it.
    at_switch = [(1 - 0.45 * value) ** 4 for value in EIGENVALUES]
    factors = {DESCENT: (1, 1), DOMINANT: (1, 0), BULK: (0, 1), NUDGED: (0.1, 1), PUSHED: (5, 1)}
    for method, (first, rest) in factors.items():
        run = frame[frame["method"] == method].set_index("iteration")
        assert run.index.tolist() == list(range(4, 45, 2))
        for iteration in (4, 10):
            loss = sum(
                value * (place * (1 - 0.45 * a * value) ** (iteration - 4)) ** 2 / 2
                for value, place, a in zip(EIGENVALUES, at_switch, (first, rest, rest), strict=True)
            )
            assert run.loc[iteration, "loss"] == pytest.approx(loss, rel=1e-3)
    before = frame[frame["method"] == BEFORE]
    assert before["iteration"].tolist() == [0, 2, 4]
    slopes = [(value * place) ** 2 for value, place in zip(EIGENVALUES, at_switch, strict=True)]
    share = before["gradient_share"].iloc[-1]
    assert share == pytest.approx(slopes[0] / sum(slopes), rel=1e-2)
    assert not frame["diverged"].any()


def test_a_method_that_diverges_ends_at_its_last_look() -> None:
    problem = subspaces.Problem(
        seeds=(0,), learning_rate=0.45, before=2, after=400, every=200, search=200, rarely=200, k=1
    )
    frame = pd.DataFrame(subspaces.rows(problem, quadratic(EIGENVALUES)))
    pushed = frame[frame["method"] == PUSHED]
    assert pushed["diverged"].all() and pushed["iteration"].tolist() == [2]
    assert not frame.loc[frame["method"] != PUSHED, "diverged"].any()


def test_sgd_keeps_or_loses_its_sharpest_direction() -> None:
    problem = escaping.Problem(
        seeds=(0, 1), learning_rate=0.1, batch_size=1, steps=6, before=3, every=3
    )
    objective = quadratic(EIGENVALUES)
    frame = pd.DataFrame(escaping.rows(problem, objective))
    assert frame.groupby(["seed", "start", "method"]).size().tolist() == [3] * 12
    frame = frame[frame["start"] == INITIALISATION]
    # An epoch of three batches of one sees each direction once, with three times its λ.
    both = [(1 - 0.1 * 3 * value) ** 2 for value in EIGENVALUES]
    moved = {WHOLE: (1, 1, 1), REMOVED: (0, 1, 1), ONLY: (1, 0, 0)}
    for method, parts in moved.items():
        loss = sum(
            value * (factor if part else 1) ** 2 / 2
            for value, factor, part in zip(EIGENVALUES, both, parts, strict=True)
        )
        last = frame[(frame["method"] == method) & (frame["iteration"] == 6)]
        assert last["loss"].tolist() == pytest.approx([loss] * 2, rel=1e-2)


def ends(**sharpness: float) -> pd.DataFrame:
    names = {"whole": WHOLE, "removed": REMOVED, "only": ONLY}
    return pd.DataFrame(
        {"learning_rate": 0.1, "seed": seed, "start": INITIALISATION, "method": names[name]}
        | {"iteration": iteration, "loss": 1.0}
        | {"sharpness": value * (1 + 0.1 * seed) if iteration else 1.0}
        for seed in range(6)
        for name, value in sharpness.items()
        for iteration in (0, 300)
    )


def test_verdicts_on_escaping() -> None:
    frame = ends(whole=2.0, removed=6.0, only=4.0)
    verdicts = judged("escaping", frame)
    assert [v in FOR for v in verdicts["verdict"]] == [True, False]
    assert verdicts["measured"].tolist() == [3, 2]
    assert verdicts["settings"].iloc[0] == "cheb-4, η = 0.1, 300 steps from the initialisation"
    sharpness, loss = drawn("escaping", frame).axes
    assert len(sharpness.lines) == len(loss.lines) == 3 * 7
    thick = [line.get_ydata()[-1] for line in sharpness.lines if line.get_linewidth() > 1]
    assert sorted(thick) == pytest.approx([2.5, 5.0, 7.5])  # medians over the seeds


def switched(**changes: tuple[float, float]) -> pd.DataFrame:
    """Loss and λ₁η after the switch by method; a method whose loss is 0 diverged."""
    rows = []
    for seed in range(6):
        shared = {"learning_rate": 0.4, "seed": seed, "gradient_share": 0.9, "diverged": False}
        start = {"loss": 1.0, "mean_loss": 1.0, "sharpness": 5.0}
        rows += [{**shared, **start, "method": BEFORE, "iteration": step} for step in (0, 1000)]
        for name, (loss, edge) in changes.items():
            this = {**shared, "method": METHODS[name], "diverged": not loss}
            rows.append({**this, **start, "iteration": 1000})
            later = {"loss": loss, "mean_loss": loss, "sharpness": edge / 0.4}
            rows += [{**this, **later, "iteration": step} for step in (1400, 1800) if loss]
    return pd.DataFrame(rows)


METHODS = {"descent": DESCENT, "dominant": DOMINANT, "bulk": BULK}
METHODS |= {"nudged": NUDGED, "pushed": PUSHED, "stale": STALE}


def test_verdicts_on_subspaces() -> None:
    judge = partial(judged, "subspaces")
    runs = {"descent": (0.5, 2.0), "dominant": (1.1, 2.0), "bulk": (0.4, 5.0)}
    frame = switched(**runs, nudged=(0.4, 3.0), pushed=(0.0, 0.0), stale=(1.3, 2.0))
    verdicts = judge(frame)
    assert set(verdicts["verdict"]) <= FOR
    expected = [0.9, 1.1, 1.3 / 1.1, 2.2, 0.8, 5.0, 0.8, 1.5, 1.0]
    assert verdicts["measured"].tolist() == pytest.approx(expected, rel=1e-3)
    assert set(verdicts["settings"]) == {"cheb-4, η = 0.4, 800 steps from step 1000 on"}
    # The contrary of all that is said of the methods.
    runs = {"descent": (0.5, 2.5), "dominant": (0.4, 2.0), "bulk": (0.6, 2.0)}
    verdicts = judge(switched(**runs, nudged=(0.6, 2.0), pushed=(0.1, 2.0), stale=(0.3, 2.0)))
    assert set(verdicts["verdict"].drop("gradient-is-dominant")) <= AGAINST
    # A loss that is not there any more is no lower one.
    runs |= {"bulk": (0.0, 0.0), "nudged": (0.0, 0.0)}
    gone = judge(switched(**runs, pushed=(0.0, 0.0), stale=(0.3, 2.0)))
    assert set(gone.loc[["bulk-learns", "nudged-is-lower"], "verdict"]) <= AGAINST

    loss, edge = drawn("subspaces", frame).axes
    curves = [line for line in loss.lines if len(line.get_xdata()) == 3]
    assert [1800.0, 1.1] in [line.get_xydata().tolist()[-1] for line in curves]
    assert len({line.get_color() for line in curves}) == 5  # all but γ = 5
    assert 2 in [line.get_ydata()[0] for line in edge.lines if line.get_linestyle() == "--"]
