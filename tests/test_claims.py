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


def test_all_hold_on_runs_made_to_fulfil_them(frames):
    # The sizes of λ₁(R) are the formula's business, not the claim's.
    decomposition = frames[0].assign(sharpness_residual=0.03 * frames[0]["sharpness_hessian"] / 20)
    table = verdicts(decomposition, frames[1])
    assert (table["holds"] == claims.HOLDS).all()
    assert (table["runs"] == COUNTED_BY_RUN).all()


def test_measured_numbers_are_those_the_runs_were_made_with(frames):
    table = verdicts(*frames)
    assert table.loc["residual-share", "measured"] == "3 %"
    assert table.loc["gauss-newton-close", "measured"] == "2 %"
    assert table.loc["criterion-declines", "measured"] == f"{synthetic.CRITERION_GROWTH} ×"
    assert table.loc["jacobians-rise", "measured"] == f"{synthetic.JACOBIAN_GROWTH**5:.4g} ×"
    assert table.loc["first-layer-usual", "measured"] == "100 %"
    assert float(table.loc["power-law-exponent", "measured"]) == pytest.approx(0.23, abs=0.02)
    assert table.loc["power-law-exponent", "worst_run"] == "dice cross_entropy (fit)"


BREAKS = {
    "residual-absolute": ({"sharpness_residual": 56.75}, "56.8"),
    "residual-share": ({"sharpness_residual": lambda f: 0.1 * f["sharpness_hessian"]}, "10 %"),
    "gauss-newton-close": (
        {"sharpness_hessian": lambda f: 0.89 * f["sharpness_gauss_newton"]},
        "11 %",
    ),
    "first-layer-bound": ({"layer_norm2_4": lambda f: 1.4 * f["layer_norm2_1"]}, "40 %"),
    "alignment-rises-most": ({"criterion_norm2": lambda f: 1e6 * f["criterion_norm2"]}, None),
    "criterion-declines": ({"criterion_norm2": 0.6}, "1.2 ×"),
    "jacobians-rise": ({"jacobian_norm2_1": 0.1}, None),
}


@pytest.mark.parametrize("name", BREAKS)
def test_one_run_contradicts(frames, name):
    columns, measured = BREAKS[name]
    decomposition = frames[0].copy()
    if name == "residual-absolute":
        decomposition["sharpness_residual"] = 1.0
    chosen = rows_of(decomposition)
    for column, value in columns.items():
        new = value(decomposition[chosen]) if callable(value) else value
        decomposition.loc[chosen, column] = new
    row = verdicts(decomposition, frames[1]).loc[name]
    assert row["holds"] == claims.CONTRADICTED
    assert row["worst_run"] == CULPRIT
    assert measured is None or row["measured"] == measured


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
    assert row["holds"] == claims.CONTRADICTED
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
    assert set(table.index[table["holds"] == claims.CONTRADICTED]) >= set(broken)
    assert table.loc["power-law-exponent", "holds"] == claims.NOT_ENOUGH
    assert table.loc["alignment-rises", "measured"] == "1 ×"


def test_negative_dominant_rate_and_what_rules_it_out(frames):
    decomposition, runs = frames
    one = runs.copy()
    one.loc[one.index[0], "negative_dominant_after_transient"] = 100
    row = verdicts(decomposition, one).loc["negative-dominant"]
    dice = one[one["experiment"] == "dice-ce"]["iterations_after_transient"].sum()
    assert row["holds"] == claims.CONTRADICTED
    assert row["measured"] == f"{100 * 100 / dice:.3g} %"
    few = runs.assign(iterations_after_transient=100)
    row = verdicts(decomposition, few).loc["negative-dominant"]
    assert row["holds"] == claims.NOT_ENOUGH and "0 events in 3,200 iterations" in row["note"]
    row = verdicts(decomposition, runs).loc["negative-dominant"]
    assert row["holds"] == claims.HOLDS and "is at most 2 % of λ₁(𝓗)" in row["note"]
    loose = decomposition.copy()
    last = loose.index[-1]
    loose.loc[last, "smallest_eigenvalue_residual"] = -1.01 * loose["sharpness_hessian"][last]
    row = verdicts(loose, runs).loc["negative-dominant"]
    assert row["holds"] == claims.NOT_ENOUGH and "is at most 101 % of λ₁(𝓗)" in row["note"]


def test_exponent_whose_interval_reaches_zero_is_undecided():
    decomposition, runs = synthetic.frames(["cifar10-mse"], noise=0.1, seeds=2)
    row = verdicts(decomposition, runs).loc["power-law-exponent"]
    assert float(row["measured"]) > 0
    assert row["holds"] == claims.NOT_ENOUGH and "an interval reaches 0" in row["note"]


@pytest.mark.parametrize("stopped", ["max_iterations", "diverged"])
def test_without_finished_runs_nothing_is_decided(stopped):
    table = claims.check(*synthetic.frames(["dice-ce"], stopped=stopped))
    assert (table["holds"] == claims.NOT_ENOUGH).all() and (table["runs"] == 0).all()


def test_two_runs_do_not_support_a_claim_but_one_can_contradict():
    rows = [synthetic.run("dice-ce", 468, init) for init in (0, 1)]
    runs = pd.DataFrame([row for _, row in rows])
    decomposition = pd.DataFrame([snapshot for more, _ in rows for snapshot in more])
    assert verdicts(decomposition, runs).loc["residual-share", "holds"] == claims.NOT_ENOUGH
    decomposition["sharpness_residual"] = np.inf
    assert verdicts(decomposition, runs).loc["residual-share", "holds"] == claims.CONTRADICTED


NEEDS_A_CHAIN = [
    *("alignment-rises", "alignment-rises-most", "alignment-explains", "jacobians-rise"),
    *("criterion-declines", "stable-without-alignment", "power-law-exponent", "power-law-fit"),
]


def test_runs_that_lack_the_numbers_are_left_out_and_counted():
    decomposition, runs = synthetic.mixed()
    table = verdicts(decomposition, runs)
    assert set(table["holds"]) <= {claims.HOLDS, claims.CONTRADICTED, claims.NOT_ENOUGH}
    assert not table["measured"].str.contains("nan").any()
    for name in NEEDS_A_CHAIN:
        row = table.loc[name]
        assert row["runs"] == 16 + 12 and "my-conv" not in row["by_experiment"], name
        assert "12 runs left out whose networks have no such numbers" in row["note"], name
    for name in set(table.index) - {*NEEDS_A_CHAIN, "negative-dominant"}:
        assert table.loc[name, "runs"] == 16 + 12 + 12 and table.loc[name, "note"] in (
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
        assert table.loc[name, ["holds", "runs", "measured"]].tolist() == [
            *(claims.NOT_ENOUGH, 0, "")
        ], name
    no_bound = decomposition.drop(columns="smallest_eigenvalue_residual")
    row = verdicts(no_bound, runs).loc["negative-dominant"]
    assert row["holds"] == claims.NOT_ENOUGH and "λ_P(R) is not known" in row["note"]


def test_another_network_can_contradict_with_the_numbers_that_it_has():
    decomposition, runs = synthetic.mixed()
    conv = decomposition["experiment"] == "my-conv"
    decomposition.loc[conv, "sharpness_residual"] = decomposition["sharpness_hessian"]
    row = verdicts(decomposition, runs).loc["residual-share"]
    assert row["holds"] == claims.CONTRADICTED and row["worst_run"].startswith("my-conv/")


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
