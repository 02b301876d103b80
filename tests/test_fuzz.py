"""The fuzz of tests/fuzz.py finds the bugs that it must, when they are put into the program."""

from __future__ import annotations

from collections.abc import Iterator

import fuzz
import pytest
from fuzzing.mutations import MUTATIONS

pytestmark = pytest.mark.slow
ROUNDS = 30  # at most; most bugs are found in one or two


@pytest.fixture(scope="module")
def ready() -> Iterator[fuzz.Fuzz]:
    with fuzz.ready(configs=("first",)) as made:
        yield made


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bug_is_found(name: str, ready: fuzz.Fuzz, capsys: pytest.CaptureFixture[str]) -> None:
    ready.look_for(name)
    ready.work(ready.store(name), rounds=ROUNDS)
    said = capsys.readouterr().out
    assert ready.bad, said
    assert "the fuzz itself" not in said
