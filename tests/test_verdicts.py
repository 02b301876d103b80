"""The type of claim: what an interval over seeds says, and how often it says it by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eosflow.analysis import claims
from eosflow.analysis.claims import Claim, Kind, Sample

HOLDS, CONTRADICTED, CANNOT_TELL = claims.HOLDS, claims.CONTRADICTED, claims.CANNOT_TELL
LARGER = Claim("larger", "It is larger.", "the ratio", "a page", "> 1", above=1)
OURS = Claim("larger", "It is larger.", "the ratio", above=1)
NEAR = Claim("near", "It is near 2.", "the number", "a page", within=(1.8, 2.2))
SHARE = Claim("share", "Each is.", "s", "a page", within=(-math.inf, 0.1), kind=Kind.EVERY)
CAN = Claim("can", "It can.", "the ratio", "a page", above=1, kind=Kind.SOME)
SEEN = Claim("seen", "They saw it.", "the ratio", "a page", within=(0, 9), kind=Kind.SEEN)


def verdict(claim: Claim, values: list[float]) -> str:
    return claim.verdict(Sample.of(values))


def test_the_interval_is_that_of_order_statistics_with_the_coverage_of_the_binomial_law() -> None:
    for count in range(1, 30):
        found = Sample.of(np.arange(1.0, count + 1))
        assert found.median == (count + 1) / 2
        # The widest tail that is left out on each side: k numbers, P(Bin(n, ½) ≤ k − 1) ≤ 2.5 %.
        left_out = [k for k in range(1, count) if stats.binom.cdf(k - 1, count, 0.5) <= 0.025]
        assert bool(left_out) == (count >= claims.FEWEST_SEEDS) == (not math.isnan(found.low))
        if left_out:
            assert (found.low, found.high) == (max(left_out), count + 1 - max(left_out))


@pytest.mark.parametrize("count", [6, 10])
@pytest.mark.parametrize("draw", ["standard_cauchy", "laplace"])
def test_without_an_effect_a_claim_holds_in_at_most_one_of_forty_cases(
    count: int, draw: str
) -> None:
    stream = np.random.default_rng(0)
    nothing = Claim("x", "No effect.", "a difference", "a page", above=0)
    cases = [verdict(nothing, getattr(stream, draw)(size=count)) for _ in range(500)]
    for each in (HOLDS, CONTRADICTED):
        assert 0 < cases.count(each) / len(cases) <= 0.025 + 3 * math.sqrt(0.025 / len(cases))
    assert cases.count(CANNOT_TELL) > 0.9 * len(cases)


@pytest.mark.parametrize(
    ("claim", "values", "expected"),
    [
        (LARGER, [1.1] * 6, HOLDS),
        (LARGER, [0.9] * 6, CONTRADICTED),
        (LARGER, [1.1] * 5 + [0.9], CANNOT_TELL),
        (LARGER, [1.0] * 6, CONTRADICTED),  # no difference on any seed is no rise
        (LARGER, [1.1] * 5, claims.NOT_ENOUGH),
        (LARGER, [0.1], claims.NOT_ENOUGH),  # one run contradicts nothing
        (LARGER, [], claims.NOT_RUN),
        (LARGER, [math.inf] * 6, HOLDS),
        (OURS, [1.1] * 6, claims.AS_EXPECTED),
        (OURS, [0.9] * 6, claims.UNEXPECTED),
        (NEAR, [2.0] * 6, HOLDS),
        (NEAR, [2.3] * 6, CONTRADICTED),
        (NEAR, [2.0] * 5 + [2.3], CANNOT_TELL),
        (SHARE, [0.1] * 6, HOLDS),
        (SHARE, [0.1] * 20 + [0.2], CANNOT_TELL),  # one beyond the bound, the interval is not
        (SHARE, [0.2] * 6, CONTRADICTED),
        (SHARE, [0.2] * 5, claims.NOT_ENOUGH),
        (CAN, [0.5] * 20 + [2.0] * 6, HOLDS),
        (CAN, [0.5] * 20 + [2.0] * 5, CANNOT_TELL),  # that it does not contradicts nothing
        (SEEN, [99.0] * 20, claims.NOT_JUDGED),
    ],
)
def test_each_verdict_comes_where_it_should(
    claim: Claim, values: list[float], expected: str
) -> None:
    assert verdict(claim, values) == expected


def test_agreement_that_proves_nothing_does_not_hold_and_the_exact_needs_no_seeds() -> None:
    assert SHARE.verdict(Sample.of([0.0] * 6, decisive=False)) == CANNOT_TELL
    assert SHARE.verdict(Sample.of([0.2] * 6, decisive=False)) == CONTRADICTED
    assert [LARGER.verdict(Sample.exact(value)) for value in (2, 1)] == [HOLDS, CONTRADICTED]


@pytest.mark.parametrize(("claim", "worst"), [(LARGER, 1), (SHARE, 2), (CAN, 2), (SEEN, 2)])
def test_the_worst_number_is_the_furthest_from_agreeing(claim: Claim, worst: int) -> None:
    assert claim.worst(np.array([0.05, 0.01, 0.2])) == worst


def test_a_row_says_its_interval_its_seeds_and_how_many_were_looked_at() -> None:
    few = LARGER.judged([3.0, None, math.nan], "b")
    frame = claims.table([LARGER.judged(np.arange(1.0, 11), "a"), few])
    assert list(frame) == claims.COLUMNS
    first, second = frame.to_dict("records")
    assert [first[name] for name in ("measured", "low", "high", "seeds")] == [5.5, 2, 9, 10]
    assert (second["seeds"], second["verdict"]) == (1, claims.NOT_ENOUGH)
    assert set(frame["looks"]) == {1}  # what too few seeds settle is not looked at
    assert "above 1" in first["statement"]
