"""Fixtures shared by the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from servers import ArchiveServer

if TYPE_CHECKING:
    from fuzzing.nursery import Nursery

ROOT = Path(__file__).parent.parent
# The clock judges nothing: the machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real archives, EOSFLOW_REAL_DATA; skips without."""
    given = os.environ.get("EOSFLOW_REAL_DATA")
    if not given:
        pytest.skip("EOSFLOW_REAL_DATA names no folder with the real archives")
    return Path(given)


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random images and labels in the form of a subset file."""
    from problems import write_noise_subset

    return write_noise_subset(tmp_path_factory.mktemp("data") / "dice-subset0.npz", seed=0)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """What runs jobs for projects, with checkpoints many times a second."""
    from fuzzing.nursery import Nursery
    from project import Project  # which loads Snakemake

    folder = tmp_path_factory.mktemp("nursery")
    tree = Project(folder / "tree")
    tree.edit("eosflow/runs/train.py", "CHECKPOINT_SECONDS = 120.0", "CHECKPOINT_SECONDS = 0.2")
    with Nursery(tree.root, folder / "socket") as running:
        yield running


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
