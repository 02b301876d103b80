"""Numbers of a short run as they were: when they move, finished results are no longer what a run
of today would give, and the versions in `eosflow/runs/spec.py` must say so.

`python tests/test_golden.py` writes the stored numbers anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from problems import small_spec, write_noise_subset

from eosflow.measurements.decomposition import Decomposition
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder
from eosflow.runs.spec import TRAINING_VERSION
from eosflow.runs.train import train
from eosflow.storage.files import read_json, write_json

STORED = Path(__file__).parent / "data" / "golden.json"
FACTS = ("sharpness_hessian", "sharpness_residual", "overlap", "m_norm2", "alignment_product")


def short_run(folder: Path) -> dict[str, Any]:
    """30 iterations on fixed noise, and the decomposition of the last snapshot."""
    subset = write_noise_subset(folder / "dice-subset0.npz", seed=7)
    # Tight pairs: what is compared are the scheme's numbers, not those of a search cut short.
    tight = {"eigen_tolerance": 1e-6, "eigen_dtype": "float64", "max_block_products": 1000}
    spec = small_spec(max_iterations=30, **tight)
    train(spec, subset, folder, threads=1)
    measure_run(folder, subset, Decomposition())
    rows = pq.read_table(folder / "trajectory.parquet").to_pydict()
    last = read_json(folder / measured_folder(Decomposition()) / "step000030.json")
    return {
        "training_version": TRAINING_VERSION,
        "decomposition_version": Decomposition.version,
        **{name: rows[name] for name in ("loss", "step_size", "eigenvalue_1", "eigenvalue_7")},
        "last": {name: last[name] for name in FACTS},
    }


def test_numbers_are_those_of_their_version(tmp_path: Path) -> None:
    expected, actual = read_json(STORED), short_run(tmp_path)
    advice = "raise {} in eosflow/runs/spec.py, then run `python tests/test_golden.py`"
    for name in ("loss", "step_size", "eigenvalue_1", "eigenvalue_7"):
        assert actual[name] == pytest.approx(expected[name], rel=1e-5), (
            f"{name} has moved: {advice.format('TRAINING_VERSION')}"
        )
    assert actual["last"] == pytest.approx(expected["last"], rel=1e-4), (
        f"a decomposition has moved: {advice.format('version of Decomposition')}"
    )
    for name in ("training_version", "decomposition_version"):
        assert actual[name] == expected[name], "run `python tests/test_golden.py`"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        write_json(STORED, short_run(Path(name)))
