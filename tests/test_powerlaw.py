"""The power law: known a and b come back, and every reason not to fit is said."""

import math

import numpy as np
import pandas as pd
import pytest
import synthetic

from eosflow.results import courses, power_laws


def test_exact_law_is_recovered():
    n = pd.Series([60, 120, 240, 480])
    law = power_laws.fit(n, 0.0026 * n**0.45)
    assert law.a == pytest.approx(0.0026, rel=1e-10)
    assert law.b == pytest.approx(0.45, rel=1e-10)
    assert law.r_squared == pytest.approx(1.0)
    assert law.runs == 4


def test_estimates_and_intervals_against_the_textbook_formulas():
    random = np.random.default_rng(3)
    n = np.repeat([50, 100, 200, 400], 4).astype(float)
    log_a = np.log(0.002) + 0.5 * np.log(n) + 0.1 * random.standard_normal(len(n))
    law = power_laws.fit(pd.Series(n), pd.Series(np.exp(log_a)))
    x, y = np.log(n), log_a
    spread = np.sum((x - x.mean()) ** 2)
    slope = np.sum((x - x.mean()) * (y - y.mean())) / spread
    remainder = y - y.mean() - slope * (x - x.mean())
    error = math.sqrt(np.sum(remainder**2) / (len(n) - 2) / spread)
    quantile = 2.1447866879169273  # Student's t, 14 degrees of freedom, 97.5 %
    assert law.b == pytest.approx(slope)
    assert law.b_low == pytest.approx(slope - quantile * error)
    assert law.b_high == pytest.approx(slope + quantile * error)
    assert law.r_squared == pytest.approx(1 - np.sum(remainder**2) / np.sum((y - y.mean()) ** 2))
    assert law.a_low < law.a < law.a_high


def test_band_contains_the_fit_and_is_narrowest_in_the_middle():
    n = pd.Series([50, 50, 100, 100, 200, 200])
    law = power_laws.fit(n, pd.Series([0.010, 0.012, 0.014, 0.016, 0.021, 0.019]))
    band = law.band(np.array([50.0, 100.0, 200.0]))
    assert band["fit"].to_numpy() == pytest.approx(law.a * np.array([50, 100, 200]) ** law.b)
    width = np.log(band["high"] / band["low"]).to_numpy()
    assert width[1] < width[0] and width[1] < width[2]


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
    assert power_laws.obstacle(*series).startswith(reason)
    with pytest.raises(ValueError, match=reason):
        power_laws.fit(*series)


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
