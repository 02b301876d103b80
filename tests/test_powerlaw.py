"""The power law: known a and b come back, and every reason not to fit is said."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import synthetic

from eosflow.results import paper, power_laws, run_summaries


def noisy() -> tuple[pd.Series, pd.Series, pd.Series, pd.Series]:
    """Four sizes, two initialisations, three subsets: N, log A, subset, initialisation of runs."""
    random = np.random.default_rng(3)
    n, init, subset = (a.ravel() for a in np.meshgrid([50, 100, 200, 400], [0, 1], [0, 1, 2]))
    shift = 0.2 * random.standard_normal(3)[subset]
    log_a = np.log(0.002) + 0.5 * np.log(n) + shift + 0.1 * random.standard_normal(len(n))
    return pd.Series(n), pd.Series(log_a), pd.Series(subset), pd.Series(init)


def test_estimates_and_intervals_against_the_textbook_formulas():
    n, y, subset, init = noisy()
    law = power_laws.fit(n, np.exp(y), subset, init)
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
    # By initialisation the same, with one degree of freedom.
    slopes = [line(n[init == i], y[init == i])[0] for i in range(2)]
    half = 12.706204736174704 * math.sqrt(np.var(slopes, ddof=1) / 2)
    assert law.b_high_initialisations - law.b == pytest.approx(half)


def test_the_bend_is_the_quadratic_term_and_its_interval_that_of_the_subsets():
    n, y, subset, init = noisy()
    bent = y - 0.15 * np.log(n) ** 2
    law = power_laws.fit(n, np.exp(bent), subset, init)
    coefficients = [np.polyfit(np.log(n[subset == s]), bent[subset == s], 2)[0] for s in range(3)]
    assert law.bend == pytest.approx(np.mean(coefficients))
    half = 4.302652729911275 * math.sqrt(np.var(coefficients, ddof=1) / 3)
    assert law.bend_low == pytest.approx(law.bend - half)
    straight = power_laws.fit(n, np.exp(y), subset, init)
    assert law.bend == pytest.approx(straight.bend - 0.15)


def test_the_papers_law_is_as_wide_as_its_rounding():
    # 0.0004 may be anything from 0.00035 to 0.00045, and 0.49 from 0.485 to 0.495.
    law, low, high = power_laws.paper_law(paper.EXPERIMENTS["cifar10-ce"], 390)
    assert law == pytest.approx(0.0004 * 390**0.49)
    assert low == pytest.approx(0.00035 * 390**0.485)
    assert high == pytest.approx(0.00045 * 390**0.495)


def test_the_papers_interval_is_the_usual_one_of_its_b_and_r_squared():
    # Data made to have this b and R² exactly: statsmodels' own interval of 80 such runs.
    random = np.random.default_rng(0)
    x = np.log(np.repeat([60.0, 120, 240, 480, 960], 16))
    x = x - x.mean()
    noise = random.standard_normal(len(x))
    noise -= noise.mean() + x * (noise @ x) / (x @ x)
    noise *= math.sqrt((0.45**2 * (x @ x)) * (1 / 0.93 - 1) / (noise @ noise))
    usual = sm.OLS(0.45 * x + noise, sm.add_constant(x)).fit()
    assert usual.rsquared == pytest.approx(0.93)
    table = power_laws.fits(*synthetic.frames(["atrialfibrillation-ce"])).set_index("experiment")
    row = table.loc["atrialfibrillation-ce", ["paper_b_low", "paper_b_high"]]
    assert row.tolist() == pytest.approx(usual.conf_int()[1].tolist())


def line(n: pd.Series, y: pd.Series) -> tuple[float, pd.Series]:
    x = np.log(n)
    slope = np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2)
    return float(slope), y - y.mean() - slope * (x - x.mean())


def test_intervals_know_that_runs_of_a_subset_are_not_independent():
    # Many runs of the same two subsets say no more of b than one of each.
    n, y, subset, init = noisy()
    law = power_laws.fit(n, np.exp(y), subset, init)
    often = [pd.concat([part] * 20, ignore_index=True) for part in (n, np.exp(y), subset, init)]
    repeated = power_laws.fit(*often)
    assert repeated.b_high - repeated.b_low == pytest.approx(law.b_high - law.b_low)
    alone = power_laws.fit(*(part[subset == 0] for part in (n, np.exp(y), subset, init)))
    assert alone.subsets == 1 and math.isnan(alone.b_low) and math.isnan(alone.a_high)
    assert np.isnan(alone.band(np.array([100.0]))["low"]).all()
    # A subset of one size has no line.
    partial = (subset == 0) | (n == 50)
    assert power_laws.fit(*(part[partial] for part in (n, np.exp(y), subset, init))).subsets == 1


def test_band_contains_the_fit_and_ends_where_the_coefficients_do():
    n, y, subset, init = noisy()
    law = power_laws.fit(n, np.exp(y), subset, init)
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
        ([60, 120], [0.1, 0.2], "finished runs at 2 sizes, a fit needs 3"),
        ([60, 60, 60], [0.1, 0.2, 0.3], "finished runs at 1 size, a fit needs 3"),
        ([60, 120, 240], [0.1, 0.0, 0.3], "an alignment is zero or not a number"),
        ([60, 120, 240], [0.2, 0.2, 0.2], "the alignment of all runs is the same"),
    ],
)
def test_reason_not_to_fit(n, alignment, reason):
    series = pd.Series(n, dtype=float if not n else int), pd.Series(alignment, dtype=float)
    assert power_laws.why_not(*series).startswith(reason)
    with pytest.raises(ValueError, match=reason):
        power_laws.fit(*series, *[pd.Series(0, index=series[0].index)] * 2)


def test_every_pair_of_the_paper_has_a_row_with_the_law_it_was_made_of():
    table = power_laws.fits(*synthetic.frames())
    pairs = list(zip(table["dataset"], table["criterion"], strict=True))
    assert pairs == [each.key for each in paper.EXPERIMENTS.values()]
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
    assert math.isnan(dice.b) and dice.note == "finished runs at 2 sizes, a fit needs 3"
    assert (cifar.runs, cifar.note) == (0, "no finished runs")
    assert math.isnan(cifar.a) and cifar.paper_a == 0.0004


def test_peaks_leave_out_the_transient():
    decomposition, _ = synthetic.frames(["atrialfibrillation-ce"], seeds=1)
    wild = decomposition.copy()
    wild.loc[wild["iteration"] == 0, "alignment_product"] = 1.0
    peaks = run_summaries.alignment_peaks(wild)
    assert peaks["alignment"].to_numpy() == pytest.approx(0.0026 * peaks["n"].to_numpy() ** 0.45)
    assert (peaks["iteration"] >= 100).all()


def test_a_run_that_ends_before_the_papers_times_has_a_peak_from_its_start_on():
    decomposition, _ = synthetic.frames(["atrialfibrillation-ce"], seeds=1)
    short = decomposition[decomposition["iteration"] < 100]
    (first,) = run_summaries.alignment_peaks(short[short["n"] == 60]).itertuples()
    assert 10 <= first.iteration < 100
    assert run_summaries.paper_times(short).empty
