"""Fixtures shared by the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from servers import ArchiveServer

ROOT = Path(__file__).parent.parent
# The clock judges nothing: the machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real archives: EOSFLOW_REAL_DATA, else ../shared/data; skips without."""
    folder = Path(os.environ.get("EOSFLOW_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real archives: {folder} is not there (set EOSFLOW_REAL_DATA)")
    return folder


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    """A real HTTP server on loopback whose faults a test chooses."""
    with ArchiveServer() as running:
        yield running


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder with no other test's beside it: a run looks beside its own for a beginning."""
    alone = tmp_path / "alone"
    alone.mkdir()
    return alone
