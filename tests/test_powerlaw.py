"""The power law: known a and b come back, and every reason not to fit is said."""

import math

import numpy as np
import pandas as pd
import pytest
import synthetic

from eosflow.results import courses, power_laws


def test_exact_law_is_recovered():
    n = pd.Series([60, 120, 240, 480])
    law = power_laws.fit(n, 0.0026 * n**0.45, pd.Series([0, 0, 1, 1]))
    assert law.a == pytest.approx(0.0026, rel=1e-10)
    assert law.b == pytest.approx(0.45, rel=1e-10)
    assert law.r_squared == pytest.approx(1.0)
    assert (law.runs, law.subsets) == (4, 2)


def noisy() -> tuple[pd.Series, pd.Series, pd.Series]:
    """Four sizes, two initialisations, three subsets: N, log A and subset of each run."""
    random = np.random.default_rng(3)
    n, _, subset = (a.ravel() for a in np.meshgrid([50, 100, 200, 400], [0, 1], [0, 1, 2]))
    shift = 0.2 * random.standard_normal(3)[subset]
    log_a = np.log(0.002) + 0.5 * np.log(n) + shift + 0.1 * random.standard_normal(len(n))
    return pd.Series(n), pd.Series(log_a), pd.Series(subset)


def test_estimates_and_intervals_against_the_textbook_formulas():
    n, y, subset = noisy()
    law = power_laws.fit(n, np.exp(y), subset)
    slope, remainder = line(n, y)
    assert law.b == pytest.approx(slope)
    assert law.r_squared == pytest.approx(1 - np.sum(remainder**2) / np.sum((y - y.mean()) ** 2))
    # Each subset has a line of its own; with equal numbers of runs b is the mean of theirs.
    slopes = [line(n[subset == s], y[subset == s])[0] for s in range(3)]
    quantile = 4.302652729911275  # Student's t, 2 degrees of freedom, 97.5 %
    half = quantile * math.sqrt(np.var(slopes, ddof=1) / 3)
    assert np.mean(slopes) == pytest.approx(slope)
    assert law.b_low == pytest.approx(slope - half)
    assert law.b_high == pytest.approx(slope + half)
    assert law.a_low < law.a < law.a_high
    assert (law.runs, law.subsets) == (24, 3)


def line(n: pd.Series, y: pd.Series) -> tuple[float, pd.Series]:
    x = np.log(n)
    slope = np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2)
    return float(slope), y - y.mean() - slope * (x - x.mean())


def test_intervals_know_that_runs_of_a_subset_are_not_independent():
    # Many runs of the same two subsets say no more of b than one of each.
    n, y, subset = noisy()
    law = power_laws.fit(n, np.exp(y), subset)
    often = [pd.concat([part] * 20, ignore_index=True) for part in (n, np.exp(y), subset)]
    repeated = power_laws.fit(*often)
    assert repeated.b_high - repeated.b_low == pytest.approx(law.b_high - law.b_low)
    alone = power_laws.fit(n[subset == 0], np.exp(y[subset == 0]), subset[subset == 0])
    assert alone.subsets == 1 and math.isnan(alone.b_low) and math.isnan(alone.a_high)
    assert np.isnan(alone.band(np.array([100.0]))["low"]).all()
    # A subset of one size has no line.
    partial = (subset == 0) | (n == 50)
    assert power_laws.fit(n[partial], np.exp(y[partial]), subset[partial]).subsets == 1


def test_band_contains_the_fit_and_ends_where_the_coefficients_do():
    n, y, subset = noisy()
    law = power_laws.fit(n, np.exp(y), subset)
    sizes = np.array([1.0, 50.0, 200.0])
    band = law.band(sizes)
    assert band["fit"].to_numpy() == pytest.approx(law.a * sizes**law.b)
    assert (band["low"] < band["fit"]).all() and (band["fit"] < band["high"]).all()
    assert band.loc[0, "low"] == pytest.approx(law.a_low)  # at N = 1 the law is a
    assert band.loc[0, "high"] == pytest.approx(law.a_high)


@pytest.mark.parametrize(
    ("n", "alignment", "reason"),
    [
        ([], [], "no finished runs"),
        ([60, 120], [0.1, 0.2], "2 finished runs, a fit needs 3"),
        ([60, 60, 60], [0.1, 0.2, 0.3], "all runs have N = 60, a fit needs two sizes"),
        ([60, 120, 240], [0.1, 0.0, 0.3], "an alignment is zero or not a number"),
        ([60, 120, 240], [0.2, 0.2, 0.2], "the alignment of all runs is the same"),
    ],
)
def test_reason_not_to_fit(n, alignment, reason):
    series = pd.Series(n, dtype=float if not n else int), pd.Series(alignment, dtype=float)
    assert power_laws.why_not(*series).startswith(reason)
    with pytest.raises(ValueError, match=reason):
        power_laws.fit(*series, pd.Series(0, index=series[0].index))


def test_every_pair_of_the_paper_has_a_row_with_the_law_it_was_made_of():
    table = power_laws.fits(*synthetic.frames())
    assert list(zip(table["dataset"], table["criterion"], strict=True)) == list(power_laws.PAPER)
    assert table["a"].to_numpy() == pytest.approx(table["paper_a"].to_numpy(), rel=1e-6)
    assert table["b"].to_numpy() == pytest.approx(table["paper_b"].to_numpy(), rel=1e-6)
    assert table["runs"].tolist() == [16, 16, 12, 16, 12]
    assert (table["note"] == "").all()


def test_runs_above_their_target_are_left_out_and_counted():
    decomposition, runs = synthetic.frames(["dice-ce"])
    runs.loc[runs["n"] == 3750, "stopped"] = "max_iterations"
    runs.loc[runs["n"] == 1875, "stopped"] = "diverged"
    dice, cifar, *_ = power_laws.fits(decomposition, runs).itertuples()
    assert (dice.runs, dice.runs_left_out) == (8, 8)
    assert (cifar.runs, cifar.note) == (0, "no finished runs")
    assert math.isnan(cifar.a) and cifar.paper_a == 0.0004


def test_peaks_leave_out_the_transient():
    decomposition, _ = synthetic.frames(["atrialfibrillation-ce"], seeds=1)
    wild = decomposition.copy()
    wild.loc[wild["iteration"] == 0, "alignment_product"] = 1.0
    peaks = courses.alignment_peaks(wild)
    assert peaks["alignment"].to_numpy() == pytest.approx(0.0026 * peaks["n"].to_numpy() ** 0.45)
    assert (peaks["iteration"] >= 10).all()
