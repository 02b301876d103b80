"""The fuzz of tests/fuzz.py finds the bugs that it must, when they are put into the program."""

from __future__ import annotations

import fuzz
import pytest
from fuzzing.mutations import MUTATIONS


@pytest.mark.slow
def test_every_bug_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """In one test: what the fuzz begins from takes longer than to find a bug."""
    with fuzz.ready(configs=("first",)) as ready:
        for name, bug in MUTATIONS.items():
            with ready.mutated(name) as store:
                ready.work(store, bug=bug)
            said = capsys.readouterr().out
            assert ready.bad, f"{name} is not found: {said}"
            assert "the fuzz itself" not in said
