"""docs/reproduction.md says what the kept tables say, in its numbers and in its words."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from eosflow.analysis.claims import CONTRADICTED, HOLDS
from eosflow.results import reproduction

FLOW = reproduction.DOCS / "reproduction" / "flow"


@pytest.fixture(scope="module")
def flow() -> reproduction.Evidence:
    return reproduction.Evidence(FLOW)


def test_what_is_said_in_words_is_so(flow: reproduction.Evidence) -> None:
    sizes = flow.sizes
    assert (sizes["peaks_at_end"] == sizes["runs"]).all()  # every peak is at the end of its run
    ce = sizes[sizes["experiment"] == "cifar10-ce"]
    assert ce["peak"].between(ce["paper_law_low"], ce["paper_law_high"]).all()
    fibrillation = sizes[sizes["experiment"] == "atrialfibrillation-ce"]
    assert fibrillation["runs"].eq(16).all() and len(fibrillation) == 5
    for claim in ("alignment-rises", "alignment-rises-most"):  # in every run, more than the others
        assert float(flow.claims.loc[claim, "measured"].removesuffix(" ×")) > 1
    contradicted = flow.claims.index[flow.claims["verdict"] == CONTRADICTED]
    assert list(contradicted) == ["norm-not-overlap"]
    by_size = {one["n"]: one for one in flow.said("norm-not-overlap", "atrialfibrillation-ce")}
    assert by_size["480"]["verdict"] == CONTRADICTED and by_size["960"]["verdict"] == HOLDS
    assert float(by_size["960"]["interval"].split(",")[0].removeprefix("[")) < 52  # barely
    law = flow.laws["atrialfibrillation-ce"]
    assert law["bend_high"] < 0 and law["b_low"] > law["paper_b"]


def test_a_number_is_written_without_an_exponent_and_with_its_digits() -> None:
    assert reproduction.number(0.00051234) == "0.00051"
    assert reproduction.number(-1234.6, 5) == "−1,234.6"
    assert reproduction.number(float("nan")) == "–"
    assert reproduction.number(0.0) == "0"


def test_what_a_claim_says_of_an_experiment_is_read_as_it_is_written(
    flow: reproduction.Evidence,
) -> None:
    """Every part of every `by_experiment` is understood."""
    for claim, text in flow.claims["by_experiment"].items():
        for part in filter(None, str(text).split("; ")):
            counts = {one["count"] for one in flow.said(str(claim), part.split(" ")[0])}
            assert re.search(r"(\d+) runs?:", part)[1] in counts, part


def test_choices_are_read_from_their_runs() -> None:
    table = reproduction.choices()
    frame = pd.read_csv(reproduction.DOCS / "data" / "choices.csv")
    runs = frame[(frame["experiment"] == "gain-one") & (frame["n"] == 60)]
    peaks = runs.groupby(["init_seed", "subset_seed"])["alignment_product"].max()
    assert len(peaks) == 4
    assert table.loc["gain-one", "peak_60"] == pytest.approx(peaks.prod() ** 0.25)
