"""The type of claim: what an interval over seeds says, and how often it says it by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eosflow.analysis import claims
from eosflow.analysis.claims import Claim, interval

LARGER = Claim("larger", "It is larger.", "the ratio", "a page", "> 1", above=1)


def verdict(claim: Claim, values: list[float]) -> str:
    return str(claim.judged(values, "made up")["verdict"])


def test_the_interval_is_that_of_order_statistics_with_the_coverage_of_the_binomial_law() -> None:
    for count in range(1, 30):
        found = interval(np.arange(1.0, count + 1))
        assert found.median == (count + 1) / 2
        # The widest tail that is left out on each side: k numbers, P(Bin(n, ½) ≤ k − 1) ≤ 2.5 %.
        left_out = [k for k in range(1, count) if stats.binom.cdf(k - 1, count, 0.5) <= 0.025]
        if not left_out:
            assert count < claims.FEWEST_SEEDS and math.isnan(found.low)
            continue
        assert count >= claims.FEWEST_SEEDS
        assert (found.low, found.high) == (max(left_out), count + 1 - max(left_out))


@pytest.mark.parametrize("count", [6, 10])
@pytest.mark.parametrize("draw", ["standard_cauchy", "laplace"])
def test_without_an_effect_a_claim_holds_in_at_most_one_of_forty_cases(
    count: int, draw: str
) -> None:
    stream = np.random.default_rng(0)
    nothing = Claim("x", "No effect.", "a difference", "a page", above=0)
    cases = [verdict(nothing, getattr(stream, draw)(size=count)) for _ in range(500)]
    for each in (claims.HOLDS, claims.CONTRADICTED):
        assert 0 < cases.count(each) / len(cases) <= 0.025 + 3 * math.sqrt(0.025 / len(cases))
    assert cases.count(claims.CANNOT_TELL) > 0.9 * len(cases)


def test_each_verdict_comes_where_it_should() -> None:
    assert verdict(LARGER, [1.1] * 6) == claims.HOLDS
    assert verdict(LARGER, [0.9] * 6) == claims.CONTRADICTED
    assert verdict(LARGER, [1.1] * 5 + [0.9]) == claims.CANNOT_TELL
    assert verdict(LARGER, [1.0] * 6) == claims.CANNOT_TELL  # no difference on any seed
    assert verdict(LARGER, [1.1] * 5) == claims.NOT_ENOUGH
    assert verdict(LARGER, [0.1]) == claims.NOT_ENOUGH  # one run contradicts nothing
    assert verdict(LARGER, []) == claims.NOT_RUN
    assert verdict(LARGER, [math.inf] * 6) == claims.HOLDS
    ours = Claim("larger", "It is larger.", "the ratio", above=1)
    assert verdict(ours, [1.1] * 6) == claims.AS_EXPECTED
    assert verdict(ours, [0.9] * 6) == claims.UNEXPECTED
    around = Claim("near", "It is near 2.", "the number", "a page", within=(1.8, 2.2))
    assert verdict(around, [2.0] * 6) == claims.HOLDS
    assert verdict(around, [2.3] * 6) == claims.CONTRADICTED
    assert verdict(around, [2.0, 2.0, 2.0, 2.0, 2.0, 2.3]) == claims.CANNOT_TELL


def test_a_row_says_its_interval_its_seeds_and_how_many_were_looked_at() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    few = LARGER.judged([3.0, None, math.nan], "b")
    frame = claims.table([LARGER.judged(values, "a"), few])
    assert list(frame) == claims.COLUMNS
    first, second = frame.to_dict("records")
    assert [first[name] for name in ("measured", "low", "high", "seeds")] == [5.5, 2, 9, 10]
    assert (second["seeds"], second["verdict"]) == (1, claims.NOT_ENOUGH)
    assert set(frame["looks"]) == {1}  # what too few seeds settle is not looked at
    assert "above 1" in first["statement"]
