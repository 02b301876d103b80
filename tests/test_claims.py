"""Each claim holds on runs made to fulfil it, and fails on the one run that is made to break it."""

import re
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import synthetic

from eosflow.analysis.claims import NOT_JUDGED
from eosflow.results import claims

CULPRIT = "atrialfibrillation-ce/n120/init1-subset0"
COUNTED_BY_RUN = 32  # Dice and AtrialFibrillation, 4 sizes, 2 x 2 seeds


@pytest.fixture(scope="module")
def frames():
    return synthetic.frames(["dice-ce", "atrialfibrillation-ce"], noise=0.01)


@pytest.fixture(scope="module")
def table(frames):
    return claims.check(*frames).set_index("claim")


def row(name, decomposition, runs):
    """The row of one claim."""
    with mock.patch.object(claims, "CLAIMS", {name: claims.CLAIMS[name]}):
        return claims.check(decomposition, runs).iloc[0]


def of_runs(rows):
    """The frames of runs, from what `synthetic.run` gives of each."""
    more, runs = zip(*rows, strict=True)
    return pd.DataFrame([snapshot for each in more for snapshot in each]), pd.DataFrame(runs)


def swapped(frame, where=slice(None)):
    """With ω and E‖M‖² exchanged."""
    columns = ["overlap", "m_norm2"]
    changed = frame.copy()
    changed.loc[where, columns] = frame.loc[where, columns[::-1]].to_numpy()
    return changed


def from_the_paper(growth):
    """Growth from iteration 100 to the peak of what grows by `growth` from iteration 10."""
    shortest = min(len(range(0, length, 100)) * 100 for length in (1000, 1500))
    return growth ** (1 - synthetic.progress(100, shortest))


def test_all_hold_on_runs_made_to_fulfil_them_with_the_numbers_they_were_made_with(table):
    assert list(table.reset_index()) == claims.COLUMNS
    assert (table.drop(index="residual-absolute")["verdict"] == claims.HOLDS).all()
    assert (table["runs"] == COUNTED_BY_RUN).all()
    criterion, jacobians = map(
        from_the_paper, (synthetic.CRITERION_GROWTH, synthetic.JACOBIAN_GROWTH**5)
    )
    expected = {"residual-share": "3 %", "gauss-newton-close": "2 %", "first-layer-usual": "100 %"}
    expected |= {
        "criterion-declines": f"{criterion:.4g} ×",
        "jacobians-rise": f"{jacobians:.4g} ×",
    }
    assert table.loc[list(expected), "measured"].to_dict() == expected
    assert float(table.loc["power-law-exponent", "measured"]) == pytest.approx(0.23, abs=0.02)
    assert table.loc["power-law-exponent", "worst_run"] == "dice-ce (fit)"


def test_the_numbers_before_the_papers_first_snapshot_stand_beside_the_verdict(frames, table):
    assert f"dice-ce {synthetic.CRITERION_GROWTH} ×" in table.loc["criterion-declines", "earlier"]
    assert table.loc["residual-share", "earlier"] == ""  # the same at all times
    wild = frames[0].copy()
    wild.loc[wild["iteration"] == 10, "layer_norm2_4"] = 1e9
    found = row("first-layer-bound", wild, frames[1])
    assert found["verdict"] == claims.HOLDS and "e+" in found["earlier"]


def test_the_sharpness_of_every_iteration_is_judged_from_iteration_10(frames):
    name, (decomposition, runs) = "sharpness-rises-every-iteration", frames
    start = decomposition[decomposition["iteration"] == 10]["sharpness_hessian"].max()
    found = row(name, decomposition, runs.assign(max_sharpness=3 * start))
    assert found["verdict"] == claims.HOLDS and found["runs"] == COUNTED_BY_RUN
    assert float(found["measured"].removesuffix(" ×")) >= 3
    # That it does not rise in some runs contradicts no claim that it can.
    fallen = row(name, decomposition, runs.assign(max_sharpness=0.5))
    assert fallen["verdict"] == claims.CANNOT_TELL


BREAKS = {
    "residual-share": ({"sharpness_residual": lambda f: 0.1 * f["sharpness_hessian"]}, "10 %"),
    "gauss-newton-close": (
        {"sharpness_hessian": lambda f: 0.89 * f["sharpness_gauss_newton"]},
        "11 %",
    ),
    "first-layer-bound": ({"layer_norm2_4": lambda f: 1.4 * f["layer_norm2_1"]}, "40 %"),
    "alignment-rises-most": ({"criterion_norm2": lambda f: 1e6 * f["criterion_norm2"]}, None),
    "criterion-declines": ({"criterion_norm2": lambda f: 0.6}, None),
    "jacobians-rise": ({"jacobian_norm2_1": lambda f: 0.1}, None),
}


@pytest.mark.parametrize("name", BREAKS)
def test_one_run_is_seen_but_an_experiment_contradicts(frames, name):
    (columns, measured), (decomposition, runs) = BREAKS[name], frames
    late = (decomposition["iteration"] >= 500) & decomposition["experiment"].str.startswith(
        "atrial"
    )
    one = decomposition.eval("n == 120 and init_seed == 1 and subset_seed == 0")
    alone, together = (
        row(
            name,
            decomposition.assign(
                **{c: decomposition[c].mask(where, f(decomposition)) for c, f in columns.items()}
            ),
            runs,
        )
        for where in (late & one, late)
    )
    assert alone["worst_run"] == CULPRIT
    bound = claims.CLAIMS[name].kind is claims.Kind.EVERY
    assert alone["verdict"] in (
        [claims.CANNOT_TELL] if bound else [claims.CANNOT_TELL, claims.HOLDS]
    )
    assert measured is None or alone["measured"] == measured
    assert together["verdict"] == claims.CONTRADICTED
    for said in ("atrialfibrillation-ce contradicted", "dice-ce holds"):
        assert f"{said}, 16 runs" in together["by_experiment"]


def test_runs_of_one_size_are_judged_together_where_there_are_six():
    decomposition, runs = of_runs(
        synthetic.run("atrialfibrillation-ce", n, init, subset, noise=0.01 * init)
        for n in (240, 480)
        for init in range(4)
        for subset in range(2)
    )
    found = row("norm-not-overlap", swapped(decomposition, decomposition["n"] == 240), runs)
    assert found["verdict"] == claims.CONTRADICTED
    for said in ("240 contradicted", "480 holds"):
        assert f"atrialfibrillation-ce N = {said}, 8 runs" in found["by_experiment"]


def test_what_the_authors_saw_is_set_beside_ours_and_not_judged(frames):
    found = row("residual-absolute", frames[0].assign(sharpness_residual=1e3), frames[1])
    assert found["verdict"] == NOT_JUDGED and found["measured"] == "1e+03"


def test_what_happens_in_the_transient_contradicts_nothing(frames, table):
    wild = frames[0].copy()
    first = wild["iteration"] < 10
    wild.loc[first, ["sharpness_residual", "layer_norm2_3", "overlap"]] = 1e9
    pd.testing.assert_frame_equal(claims.check(wild, frames[1]).set_index("claim"), table)


def test_frozen_alignment_contradicts_what_rests_on_it(frames):
    frozen = {f"alignment_{layer}": 0.3 for layer in range(1, synthetic.LAYERS)}
    decomposition = frames[0].assign(**frozen, alignment_product=0.3**5)
    found = claims.check(decomposition, frames[1]).set_index("claim")
    broken = ["alignment-rises", "alignment-rises-most", "alignment-explains"]
    broken += ["stable-without-alignment"]
    assert (found.loc[broken, "verdict"] == claims.CONTRADICTED).all()
    assert found.loc["power-law-exponent", "verdict"] == claims.NOT_ENOUGH
    assert found.loc["alignment-rises", "measured"] == "1 ×"


def test_negative_dominant_rate_and_what_rules_it_out(frames, table):
    decomposition, runs = frames
    name, events = "negative-dominant", runs["negative_dominant_after_transient"].copy()
    assert "is at most 2 % of λ₁(𝓗)" in table.loc[name, "note"]
    events.iloc[0] = 100
    found = row(name, decomposition, runs.assign(negative_dominant_after_transient=events))
    dice = runs[runs["experiment"] == "dice-ce"]["iterations_after_transient"].sum()
    assert (found["verdict"], found["measured"]) == (claims.CONTRADICTED, f"{1e4 / dice:.3g} %")
    loose = decomposition.copy()
    last = loose.index[-1]
    loose.loc[last, "smallest_eigenvalue_residual"] = -1.01 * loose["sharpness_hessian"][last]
    unknown = decomposition.drop(columns="smallest_eigenvalue_residual")
    for snapshots, counted, why in (
        (decomposition, runs.assign(iterations_after_transient=100), "0 events in 3,200 iter"),
        (loose, runs, "is at most 101 % of λ₁(𝓗)"),
        (unknown, runs, "λ_P(R) is not known"),
    ):
        found = row(name, snapshots, counted)
        assert found["verdict"] == claims.CANNOT_TELL and why in found["note"]


def test_exponent_whose_interval_reaches_zero_is_undecided():
    decomposition, runs = synthetic.frames(["cifar10-mse"], noise=0.1, seeds=2)
    found = row("power-law-exponent", decomposition, runs)
    assert float(found["measured"]) > 0
    assert found["verdict"] == claims.CANNOT_TELL and "[-" in found["by_experiment"]


@pytest.mark.parametrize("stopped", ["max_iterations", "diverged"])
def test_without_finished_runs_nothing_is_decided(stopped):
    table = claims.check(*synthetic.frames(["dice-ce"], stopped=stopped))
    assert (table["verdict"] == claims.NOT_ENOUGH).all() and (table["runs"] == 0).all()


def test_marks_that_lie_densely_weigh_no_more_than_their_time():
    course, runs = of_runs([synthetic.run("dice-ce", 468)])
    # From flow time 1 to 5 another layer is the largest, and half of the marks lie there.
    end = course["flow_time"].max()
    times = np.concatenate([np.linspace(1, 5, 30), np.linspace(5, end, 30)[1:]])
    dense = course.iloc[[-1] * len(times)].assign(
        flow_time=times, iteration=np.arange(len(times)) + 100
    )
    dense["layer_norm2_2"] = dense["layer_norm2_1"] * np.where(times < 5, 2, 0.5)
    share = float(row("first-layer-usual", dense, runs)["measured"].removesuffix(" %")) / 100
    assert share == pytest.approx((end - 5) / (end - 1), abs=0.01)


NEEDS_A_CHAIN = [
    *("alignment-rises", "alignment-rises-most", "alignment-explains", "jacobians-rise"),
    *("criterion-declines", "stable-without-alignment", "power-law-exponent", "power-law-fit"),
]


def test_runs_that_lack_the_numbers_are_left_out_and_counted():
    table = claims.check(*synthetic.mixed()).set_index("claim")
    assert not table["measured"].str.contains("nan").any()
    lacking = {*NEEDS_A_CHAIN, "negative-dominant", "sharpness-rises-every-iteration"}
    for name, found in table.iterrows():
        assert found["runs"] == 16 + 12 + 12 * (name not in lacking), name
        assert ("12 runs left out that" in found["note"]) == (name in lacking), name
        assert name not in NEEDS_A_CHAIN or "my-conv" not in found["by_experiment"], name


def test_another_network_can_contradict_with_the_numbers_that_it_has():
    decomposition, runs = synthetic.mixed()
    conv = decomposition["experiment"] == "my-conv"
    decomposition.loc[conv, "sharpness_residual"] = decomposition["sharpness_hessian"]
    found = row("residual-share", decomposition, runs)
    assert found["verdict"] == claims.CONTRADICTED and found["worst_run"].startswith("my-conv/")


def test_a_verdict_travels_with_its_settings(frames, table):
    runs = frames[1]
    for name in ("residual-share", "power-law-fit", "first-layer-usual"):
        settings = table.loc[name, "settings"]
        assert f"{runs['network'].iloc[0]}; {runs['optimizer'].iloc[0]}" in settings
        counts = [int(n) for n in re.findall(r": (\d+) runs?", settings)]
        assert sum(counts) == table.loc[name, "runs"]
    assert "dice-ce: 16 runs, N = 468, 937, 1875, 3750" in table.loc["residual-share", "settings"]
