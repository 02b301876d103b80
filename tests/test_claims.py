"""Each claim holds on runs made to fulfil it, and fails on the one run that is made to break it."""

import re

import numpy as np
import pandas as pd
import pytest
import synthetic

from eosflow.results import claims

CULPRIT = "atrialfibrillation-ce/n120/init1-subset0"
COUNTED_BY_RUN = 32  # Dice and AtrialFibrillation, 4 sizes, 2 x 2 seeds


@pytest.fixture(scope="module")
def frames():
    return synthetic.frames(["dice-ce", "atrialfibrillation-ce"], noise=0.01)


def verdicts(decomposition, runs):
    return claims.check(decomposition, runs).set_index("claim")


def rows_of(frame, late=True):
    """The culprit's rows, from iteration 500 on or all of them."""
    run = frame.eval("experiment == 'atrialfibrillation-ce' and n == 120 and init_seed == 1")
    run &= frame["subset_seed"] == 0
    return run & (frame["iteration"] >= 500) if late else run


def from_the_paper(growth):
    """Growth from iteration 100 to the peak of what grows by `growth` from iteration 10."""
    shortest = min(len(range(0, length, 100)) * 100 for length in (1000, 1500))
    return growth ** (1 - synthetic.progress(100, shortest))


def test_all_hold_on_runs_made_to_fulfil_them(frames):
    # The sizes of λ₁(R) are the formula's business, not the claim's.
    decomposition = frames[0].assign(sharpness_residual=0.03 * frames[0]["sharpness_hessian"] / 20)
    table = verdicts(decomposition, frames[1])
    judged = table.drop(index="residual-absolute")
    assert (judged["verdict"] == claims.HOLDS).all()
    assert (table["runs"] == COUNTED_BY_RUN).all()


def test_measured_numbers_are_those_the_runs_were_made_with(frames):
    table = verdicts(*frames)
    assert table.loc["residual-share", "measured"] == "3 %"
    assert table.loc["gauss-newton-close", "measured"] == "2 %"
    criterion = from_the_paper(synthetic.CRITERION_GROWTH)
    assert table.loc["criterion-declines", "measured"] == f"{criterion:.4g} ×"
    jacobians = from_the_paper(synthetic.JACOBIAN_GROWTH**5)
    assert table.loc["jacobians-rise", "measured"] == f"{jacobians:.4g} ×"
    assert table.loc["first-layer-usual", "measured"] == "100 %"
    assert float(table.loc["power-law-exponent", "measured"]) == pytest.approx(0.23, abs=0.02)
    assert table.loc["power-law-exponent", "worst_run"] == "dice-ce (fit)"


def test_the_numbers_before_the_papers_first_snapshot_stand_beside_the_verdict(frames):
    table = verdicts(*frames)
    earlier = f"dice-ce {synthetic.CRITERION_GROWTH} ×"
    assert earlier in table.loc["criterion-declines", "earlier"]
    assert table.loc["residual-share", "earlier"] == ""  # the same at all times
    wild = frames[0].copy()
    wild.loc[wild["iteration"] == 10, "layer_norm2_4"] = 1e9
    row = verdicts(wild, frames[1]).loc["first-layer-bound"]
    assert row["verdict"] == claims.HOLDS and "e+" in row["earlier"]


def test_the_sharpness_of_every_iteration_is_judged_from_iteration_10(frames):
    decomposition, runs = frames
    start = decomposition[decomposition["iteration"] == 10]["sharpness_hessian"].max()
    table = verdicts(decomposition, runs.assign(max_sharpness=3 * start))
    row = table.loc["sharpness-rises-every-iteration"]
    assert row["verdict"] == claims.HOLDS and row["runs"] == COUNTED_BY_RUN
    assert float(row["measured"].removesuffix(" ×")) >= 3
    fallen = verdicts(decomposition, runs.assign(max_sharpness=0.5))
    # That it does not rise in some runs contradicts no claim that it can.
    assert fallen.loc["sharpness-rises-every-iteration", "verdict"] == claims.CANNOT_TELL


BREAKS = {
    "residual-share": ({"sharpness_residual": lambda f: 0.1 * f["sharpness_hessian"]}, "10 %"),
    "gauss-newton-close": (
        {"sharpness_hessian": lambda f: 0.89 * f["sharpness_gauss_newton"]},
        "11 %",
    ),
    "first-layer-bound": ({"layer_norm2_4": lambda f: 1.4 * f["layer_norm2_1"]}, "40 %"),
    "alignment-rises-most": ({"criterion_norm2": lambda f: 1e6 * f["criterion_norm2"]}, None),
    "criterion-declines": ({"criterion_norm2": 0.6}, None),
    "jacobians-rise": ({"jacobian_norm2_1": 0.1}, None),
}


def broken(frames, name, chosen):
    """The claim's row where `chosen` snapshots break it."""
    columns, _ = BREAKS[name]
    decomposition = frames[0].copy()
    for column, value in columns.items():
        new = value(decomposition[chosen]) if callable(value) else value
        decomposition.loc[chosen, column] = new
    return verdicts(decomposition, frames[1]).loc[name]


@pytest.mark.parametrize("name", BREAKS)
def test_one_run_is_seen_but_contradicts_nothing(frames, name):
    row = broken(frames, name, rows_of(frames[0]))
    assert row["worst_run"] == CULPRIT
    assert row["verdict"] != claims.CONTRADICTED
    measured = BREAKS[name][1]
    assert measured is None or row["measured"] == measured
    bound = name in ("residual-share", "gauss-newton-close", "first-layer-bound")
    assert not bound or row["verdict"] == claims.CANNOT_TELL


@pytest.mark.parametrize("name", BREAKS)
def test_an_experiment_contradicts(frames, name):
    late = frames[0]["iteration"] >= 500
    row = broken(frames, name, late & (frames[0]["experiment"] == "atrialfibrillation-ce"))
    assert row["verdict"] == claims.CONTRADICTED
    assert "atrialfibrillation-ce contradicted, 16 runs" in row["by_experiment"]
    assert "dice-ce holds, 16 runs" in row["by_experiment"]


def test_runs_of_one_size_are_judged_together_where_there_are_six():
    rows = [
        synthetic.run("atrialfibrillation-ce", n, init, subset, noise=0.01 * init)
        for n in (240, 480)
        for init in range(4)
        for subset in range(2)
    ]
    runs = pd.DataFrame([row for _, row in rows])
    decomposition = pd.DataFrame([snapshot for more, _ in rows for snapshot in more])
    small = decomposition["n"] == 240
    norm, overlap = decomposition["m_norm2"].copy(), decomposition["overlap"].copy()
    decomposition.loc[small, "overlap"] = norm[small]
    decomposition.loc[small, "m_norm2"] = overlap[small]
    row = verdicts(decomposition, runs).loc["norm-not-overlap"]
    assert row["verdict"] == claims.CONTRADICTED
    assert "atrialfibrillation-ce N = 240 contradicted, 8 runs" in row["by_experiment"]
    assert "atrialfibrillation-ce N = 480 holds, 8 runs" in row["by_experiment"]


def test_what_the_authors_saw_is_set_beside_ours_and_not_judged(frames):
    decomposition = frames[0].assign(sharpness_residual=1e3)
    row = verdicts(decomposition, frames[1]).loc["residual-absolute"]
    assert row["verdict"] == "not judged" and row["measured"] == "1e+03"
    assert "56.74" in row["paper"]


def test_what_happens_in_the_transient_contradicts_nothing(frames):
    decomposition, runs = frames
    wild = decomposition.copy()
    first = wild["iteration"] < 10
    wild.loc[first, ["sharpness_residual", "layer_norm2_3", "overlap"]] = 1e9
    pd.testing.assert_frame_equal(claims.check(wild, runs), claims.check(decomposition, runs))


def test_rise_by_overlap_instead_of_norm_is_seen(frames):
    decomposition = frames[0].copy()
    norm, overlap = decomposition["m_norm2"].copy(), decomposition["overlap"].copy()
    decomposition["overlap"], decomposition["m_norm2"] = norm, overlap
    row = verdicts(decomposition, frames[1]).loc["norm-not-overlap"]
    assert row["verdict"] == claims.CONTRADICTED
    share = float(row["measured"].removesuffix(" %"))
    assert 0 < share < 10


def test_frozen_alignment_contradicts_what_rests_on_it(frames):
    decomposition = frames[0].copy()
    for layer in range(1, synthetic.LAYERS):
        decomposition[f"alignment_{layer}"] = 0.3
    decomposition["alignment_product"] = 0.3**5
    table = verdicts(decomposition, frames[1])
    broken = ["alignment-rises", "alignment-rises-most", "alignment-explains"]
    broken += ["stable-without-alignment"]
    assert set(table.index[table["verdict"] == claims.CONTRADICTED]) >= set(broken)
    assert table.loc["power-law-exponent", "verdict"] == claims.NOT_ENOUGH
    assert table.loc["alignment-rises", "measured"] == "1 ×"


def test_negative_dominant_rate_and_what_rules_it_out(frames):
    decomposition, runs = frames
    one = runs.copy()
    one.loc[one.index[0], "negative_dominant_after_transient"] = 100
    row = verdicts(decomposition, one).loc["negative-dominant"]
    dice = one[one["experiment"] == "dice-ce"]["iterations_after_transient"].sum()
    assert row["verdict"] == claims.CONTRADICTED
    assert row["measured"] == f"{100 * 100 / dice:.3g} %"
    few = runs.assign(iterations_after_transient=100)
    row = verdicts(decomposition, few).loc["negative-dominant"]
    assert row["verdict"] == claims.CANNOT_TELL and "0 events in 3,200 iterations" in row["note"]
    row = verdicts(decomposition, runs).loc["negative-dominant"]
    assert row["verdict"] == claims.HOLDS and "is at most 2 % of λ₁(𝓗)" in row["note"]
    loose = decomposition.copy()
    last = loose.index[-1]
    loose.loc[last, "smallest_eigenvalue_residual"] = -1.01 * loose["sharpness_hessian"][last]
    row = verdicts(loose, runs).loc["negative-dominant"]
    assert row["verdict"] == claims.CANNOT_TELL and "is at most 101 % of λ₁(𝓗)" in row["note"]


def test_exponent_whose_interval_reaches_zero_is_undecided():
    decomposition, runs = synthetic.frames(["cifar10-mse"], noise=0.1, seeds=2)
    row = verdicts(decomposition, runs).loc["power-law-exponent"]
    assert float(row["measured"]) > 0
    assert row["verdict"] == claims.CANNOT_TELL and "[-" in row["by_experiment"]


@pytest.mark.parametrize("stopped", ["max_iterations", "diverged"])
def test_without_finished_runs_nothing_is_decided(stopped):
    table = claims.check(*synthetic.frames(["dice-ce"], stopped=stopped))
    assert (table["verdict"] == claims.NOT_ENOUGH).all() and (table["runs"] == 0).all()


def test_two_runs_neither_support_nor_contradict_a_claim():
    rows = [synthetic.run("dice-ce", 468, init) for init in (0, 1)]
    runs = pd.DataFrame([row for _, row in rows])
    decomposition = pd.DataFrame([snapshot for more, _ in rows for snapshot in more])
    assert verdicts(decomposition, runs).loc["residual-share", "verdict"] == claims.NOT_ENOUGH
    decomposition["sharpness_residual"] = np.inf
    assert verdicts(decomposition, runs).loc["residual-share", "verdict"] == claims.NOT_ENOUGH


def test_marks_that_lie_densely_weigh_no_more_than_their_time():
    rows, run = synthetic.run("dice-ce", 468)
    course = pd.DataFrame(rows)
    # From flow time 1 to 5 another layer is the largest, and half of the marks lie there.
    end = course["flow_time"].max()
    times = np.concatenate([np.linspace(1, 5, 30), np.linspace(5, end, 30)[1:]])
    dense = course.iloc[[-1] * len(times)].assign(
        flow_time=times, iteration=np.arange(len(times)) + 100
    )
    dense["layer_norm2_2"] = dense["layer_norm2_1"] * np.where(times < 5, 2, 0.5)
    row = verdicts(dense, pd.DataFrame([run])).loc["first-layer-usual"]
    share = float(row["measured"].removesuffix(" %")) / 100
    assert share == pytest.approx((end - 5) / (end - 1), abs=0.01)


NEEDS_A_CHAIN = [
    *("alignment-rises", "alignment-rises-most", "alignment-explains", "jacobians-rise"),
    *("criterion-declines", "stable-without-alignment", "power-law-exponent", "power-law-fit"),
]


def test_runs_that_lack_the_numbers_are_left_out_and_counted():
    decomposition, runs = synthetic.mixed()
    table = verdicts(decomposition, runs)
    assert not table["measured"].str.contains("nan").any()
    for name in NEEDS_A_CHAIN:
        row = table.loc[name]
        assert row["runs"] == 16 + 12 and "my-conv" not in row["by_experiment"], name
        assert "12 runs left out whose networks have no such numbers" in row["note"], name
    for name in set(table.index) - {*NEEDS_A_CHAIN, "negative-dominant"}:
        stepped = name == "sharpness-rises-every-iteration"  # my-conv's optimizer takes no pairs
        assert table.loc[name, "runs"] == 16 + 12 + 12 * (not stepped), name
        assert table.loc[name, "note"] in (
            "",
            "0 runs left out whose λ₁(G) rises by less than 10 %",
        )
    row = table.loc["negative-dominant"]
    assert row["runs"] == 16 + 12
    assert "12 runs left out that recorded nothing of it" in row["note"]


def test_what_was_not_looked_at_supports_no_claim():
    decomposition, runs = synthetic.frames(["my-conv"])
    table = verdicts(synthetic.without_chains(decomposition), runs.assign(**synthetic.UNSEEN))
    for name in (*NEEDS_A_CHAIN, "negative-dominant"):
        assert table.loc[name, ["verdict", "runs", "measured"]].tolist() == [
            *(claims.NOT_ENOUGH, 0, "")
        ], name
    no_bound = decomposition.drop(columns="smallest_eigenvalue_residual")
    row = verdicts(no_bound, runs).loc["negative-dominant"]
    assert row["verdict"] == claims.CANNOT_TELL and "λ_P(R) is not known" in row["note"]


def test_another_network_can_contradict_with_the_numbers_that_it_has():
    decomposition, runs = synthetic.mixed()
    conv = decomposition["experiment"] == "my-conv"
    decomposition.loc[conv, "sharpness_residual"] = decomposition["sharpness_hessian"]
    row = verdicts(decomposition, runs).loc["residual-share"]
    assert row["verdict"] == claims.CONTRADICTED and row["worst_run"].startswith("my-conv/")


def test_columns_and_wording(frames):
    table = claims.check(*frames)
    assert list(table.columns) == claims.COLUMNS
    assert table["claim"].is_unique
    assert table["statement"].str.endswith(".").all()


def test_a_verdict_travels_with_its_settings(frames):
    decomposition, runs = frames
    table = claims.check(decomposition, runs).set_index("claim")
    for name in ("residual-share", "power-law-fit", "first-layer-usual"):
        row = table.loc[name]
        assert f"{runs['network'].iloc[0]}; {runs['optimizer'].iloc[0]}" in row["settings"]
        counts = [int(n) for n in re.findall(r": (\d+) runs?", row["settings"])]
        assert sum(counts) == row["runs"]
    assert "dice-ce: 16 runs, N = 468, 937, 1875, 3750" in table.loc["residual-share", "settings"]
