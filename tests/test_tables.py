"""Frames become tables, and what is read off the course of each run."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings

from eosflow.results import run_summaries, tables


def test_table1_counts_how_the_runs_ended():
    _, runs = synthetic.frames(["atrialfibrillation-ce", "dice-ce"])
    runs.loc[[0, 1], "stopped"] = ["max_iterations", "diverged"]
    table = tables.table1(runs)
    assert table["dataset"].tolist() == ["dice"] * 4 + ["atrialfibrillation"] * 4
    smallest = table[table["n"] == 60].iloc[0]
    assert smallest[["runs", "reached_target", "cut_off", "diverged"]].tolist() == [4, 2, 1, 1]
    assert smallest["seconds"] == 4 * 120
    # Lengths are 1000 and 1500 iterations, two seeds each.
    assert smallest["iterations"] == 1250


def test_experiments_beyond_the_paper_come_last_by_name_and_without_its_numbers():
    decomposition, runs = synthetic.mixed()
    first = tables.table1(runs)
    assert first["experiment"].tolist() == ["dice-ce"] * 4 + ["my-conv"] * 3 + ["iris-gd"] * 3
    assert first.columns[-1] == "experiment"
    second = tables.table2(decomposition, runs).set_index("experiment")
    assert second.index.tolist()[-2:] == ["my-conv", "iris-gd"] and len(second) == 7
    # The paper has a fit of CIFAR-10 and cross-entropy, but not of this network.
    assert second.loc["my-conv", "note"] == "12 finished runs without alignments"
    assert second.loc["my-conv", ["b", "paper_b"]].isna().all()
    assert second.loc["my-conv", "runs_left_out"] == 12
    assert second.loc["iris-gd", ["runs", "note"]].tolist() == [12, ""]
    assert second.loc["iris-gd", "b"] > 0 and np.isnan(second.loc["iris-gd", "paper_b"])
    print_names = tables.readable(second, tables.given_titles(runs))["dataset"]
    assert print_names["iris-gd"] == "Iris flowers" and print_names["my-conv"] == "CIFAR-10"
    assert tables.readable(second)["dataset"]["iris-gd"] == "iris"
    dice = tables.table2(*synthetic.frames(["dice-ce"], noise=0.01))
    assert "experiment" not in dice
    pd.testing.assert_frame_equal(
        second.reset_index(drop=True).iloc[:1], dice.iloc[:1], check_dtype=False
    )


def test_networks_share_a_frame_without_changing_each_others_numbers():
    decomposition, _ = synthetic.mixed()
    for summary in (
        run_summaries.alignment_peaks,
        run_summaries.growth,
        run_summaries.largest_growth,
        run_summaries.stable_steps,
    ):
        together = summary(decomposition)
        for experiment in ("dice-ce", "my-conv", "iris-gd"):
            alone = decomposition[decomposition["experiment"] == experiment]
            mine = together[together["experiment"] == experiment].reset_index(drop=True)
            expected = summary(alone.dropna(axis="columns", how="all"))
            pd.testing.assert_frame_equal(mine, expected, check_dtype=False)


def test_table3_shows_what_was_drawn_beside_what_was_specified():
    parameters = pd.DataFrame(
        {
            "class": [1, 1, 3, 3],
            "x": [-0.5, 0.25, 0.1, 0.2],
            "y": [0.0, 0.5, 0.3, 0.4],
            "cex": [0.2, 0.9, np.nan, np.nan],
            "lwd": [np.nan, np.nan, 0.4, 2.0],
            "lend": [None, None, "butt", "square"],
            "dx": np.nan,
            "dy": np.nan,
        }
    )
    table = tables.table3(parameters).set_index(["class", "parameter"])
    assert len(table) == 3 + 3 + 4 + 4 + 5 + 6
    observed = ["min", "max", "paper_min", "paper_max", "images"]
    assert table.loc[(1, "x"), observed].tolist() == [-0.5, 0.25, -1, 1, 2]
    assert table.loc[(3, "lwd"), observed].tolist() == [0.4, 2.0, 0.1, 2.5, 2]
    assert table.loc[(3, "lend"), observed].tolist() == [1, 2, 0, 2, 2]
    assert np.isnan(table.loc[(6, "dx"), "min"]) and table.loc[(6, "dx"), "images"] == 0


def test_growth_multiplies_up_and_is_what_the_runs_were_made_with():
    grown = run_summaries.growth(synthetic.frames()[0])
    product = grown[list(run_summaries.FACTORS)].prod(axis="columns")
    assert product.to_numpy() == pytest.approx(grown["layer_norm2_1"].to_numpy())
    assert (grown["m_norm2"] * grown["overlap"]).to_numpy() == pytest.approx(
        grown["sharpness_gauss_newton"].to_numpy()
    )
    assert grown["criterion_norm2"].to_numpy() == pytest.approx(synthetic.CRITERION_GROWTH)
    assert grown["jacobian_product"].to_numpy() == pytest.approx(synthetic.JACOBIAN_GROWTH**5)
    assert grown["overlap"].to_numpy() == pytest.approx(synthetic.OVERLAP_GROWTH)
    peaks = run_summaries.alignment_peaks(synthetic.frames()[0])["alignment"]
    assert grown["alignment"].to_numpy() == pytest.approx(peaks.to_numpy() / synthetic.START)


def test_counterfactual_step_by_hand():
    """Two layers, two snapshots: s_cf = max over t of ω (M_1 A(10)/A(t) + M_2) + max(λ₁(R), 0)."""
    identity = dict(zip(run_summaries.IDENTITY, ("e", "d", "c", 9, 0, 0), strict=True))
    common = {"layer_norm2_2": 3.0, "overlap": 0.5, "sharpness_residual": -1.0}
    rows = [
        {"iteration": 0, "alignment_1": 0.9, "layer_norm2_1": 99.0, "sharpness_hessian": 99.0},
        {"iteration": 10, "alignment_1": 0.1, "layer_norm2_1": 2.0, "sharpness_hessian": 2.0},
        {"iteration": 20, "alignment_1": 0.4, "layer_norm2_1": 10.0, "sharpness_hessian": 8.0},
    ]
    frame = pd.DataFrame([{**identity, **common, **row} for row in rows])
    (steps,) = run_summaries.stable_steps(frame).itertuples()
    assert steps.max_sharpness == 8.0
    assert steps.counterfactual_sharpness == pytest.approx(0.5 * (10 * 0.1 / 0.4 + 3))
    assert steps.stable_step == 0.25
    assert steps.counterfactual_step == pytest.approx(2 / 2.75)


@given(st.permutations(range(12)))
@settings(max_examples=5)
def test_the_order_of_rows_does_not_matter(order):
    decomposition = pd.DataFrame(synthetic.run("dice-ce", 468)[0])
    decomposition = decomposition.iloc[: len(order)]
    shuffled = decomposition.iloc[order]
    for summary in (
        run_summaries.growth,
        run_summaries.stable_steps,
        run_summaries.alignment_peaks,
    ):
        pd.testing.assert_frame_equal(summary(shuffled), summary(decomposition))


def test_alignment_by_size_gives_back_the_laws_that_the_runs_were_made_of():
    decomposition, runs = synthetic.frames(["dice-ce", "cifar10-mse"])
    table = tables.alignment(decomposition, runs)
    assert table["n"].tolist() == [468, 937, 1875, 3750, 390, 781, 1562]
    assert table["peak"].to_numpy() == pytest.approx(table["paper_law"].to_numpy(), rel=1e-6)
    first = table["n"].isin([468, 390])
    assert table["exponent"].isna().tolist() == first.tolist()
    for _, rows in table.groupby("criterion"):
        law = 0.23 if rows["n"].max() == 3750 else 0.20
        assert rows["exponent"].dropna().to_numpy() == pytest.approx(law, rel=1e-5)
    assert (table["peaks_at_end"] == 0).all()
    assert (table["runs"] == 4).all()


def test_alignment_at_equal_loss_is_read_off_between_snapshots():
    decomposition, _ = synthetic.frames(["dice-ce"], seeds=1)
    run = decomposition[decomposition["n"] == 468].sort_values("iteration")
    at = run.iloc[5]
    same = run_summaries.alignment_at_loss(run, at["loss"])
    assert same["alignment"].item() == pytest.approx(at["alignment_product"])
    after = run.iloc[6]
    between = run_summaries.alignment_at_loss(run, np.sqrt(at["loss"] * after["loss"]))
    middle = np.sqrt(at["alignment_product"] * after["alignment_product"])
    assert between["alignment"].item() == pytest.approx(middle)
    assert run_summaries.alignment_at_loss(run, 1e-9).empty
    assert run_summaries.alignment_at_loss(run, 1e9).empty
