"""The table of columns knows every column of every file, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from eosflow.analysis import claims as judged
from eosflow.datasets.dice import Dice, parameter_table
from eosflow.measurements import MEASUREMENTS
from eosflow.measurements.chain_factors import ChainFactors
from eosflow.measurements.factors import decompose
from eosflow.networks.module import ModuleNetwork
from eosflow.networks.perceptron import MLP
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers import OPTIMIZERS
from eosflow.results import claims, columns
from eosflow.results.collect import RUN_COLUMNS
from eosflow.results.courses import IDENTITY
from eosflow.runs.train import COLUMNS
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = sorted((ROOT / "docs" / "reproduction").glob("*/"))
TRAJECTORY = "EXP/nN/RUN/trajectory.parquet"
ADD = "describe it in eosflow/results/columns.yaml"


def entry(path: str, optimizer: str = "") -> columns.File:
    """The table of one file."""
    for file in columns.files():
        own = optimizer in file.optimizers or not (optimizer or file.optimizers)
        if own and path in (file.path, file.also):
            return file
    raise AssertionError(f"{path} {optimizer}: {ADD}")


def hold(file: columns.File, names: Iterable[str], whole: bool = True) -> None:
    """`names` are all in the table; with `whole` every column of the table is among them."""
    names = list(names)
    unknown = [name for name in names if file.column(name) is None]
    assert not unknown, f"{file.title}: {unknown}: {ADD}"
    if whole:
        unused = [c.name for c in file.columns if not any(c.is_called(name) for name in names)]
        assert not unused, f"{file.title} has no {unused}"


def test_every_column_has_symbol_equation_and_unit() -> None:
    for file in columns.files():
        for column in file.columns:
            assert all((column.symbol, column.equation, column.unit)), column


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "alignment", "claims"])
@pytest.mark.parametrize("folder", EVIDENCE, ids=lambda folder: folder.name)
def test_tables(folder: Path, name: str) -> None:
    file = entry(f"{name}.csv")
    found = pd.read_csv(folder / f"{name}.csv", nrows=0).columns
    hold(file, [*found, "experiment"] if file.column("experiment") else found)


def test_frames() -> None:
    flow = ROOT / "docs" / "reproduction" / "flow"
    for name in ("decomposition", "runs"):
        hold(entry(f"{name}.parquet"), pq.read_schema(flow / f"{name}.parquet").names)
    hold(entry("runs.parquet"), RUN_COLUMNS)
    hold(entry("claims.csv"), claims.COLUMNS)
    dice = parameter_table(Dice(images_per_class=1)).column_names
    hold(entry("data/dice-parameters.parquet"), dice)


def test_the_decomposition_of_a_chain_and_of_another_network() -> None:
    inputs, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3
    chain = MLP((4, 5, 5, 3))
    module = torch.nn.Linear(4, 3).double()
    other = ModuleNetwork(module, (4,), lambda module, stream: None)
    of_chain = MLPObjective(chain, "cross_entropy", inputs, labels)
    of_other = ModuleObjective(other, "cross_entropy", inputs, labels)
    file = entry("decomposition.parquet")
    added = [*IDENTITY, "transient", "iteration", "flow_time"]
    hold(file, [*added, *decompose(of_chain, chain.initialize(0).double())])
    hold(file, decompose(of_other, other.initialize(0).double()), whole=False)


def test_trajectories_of_every_optimizer() -> None:
    hold(entry(TRAJECTORY), COLUMNS)
    for name, kind in OPTIMIZERS.items():
        hold(entry(TRAJECTORY, name), kind.example().columns(1000, 3))


def test_measurements() -> None:
    for name, kind in MEASUREMENTS.items():
        if name != "decomposition":
            first = [*IDENTITY, "iteration", "flow_time"]
            # How many links a chain has is not known beforehand: test_the_factors_of_a_chain.
            whole = name != "chain-factors"
            given = {"validation": 1} if name == "accuracy" else {}
            columns_of = [*first, *kind(**given).columns(3)]
            hold(entry(f"measurements/{name}.parquet"), columns_of, whole)


def test_the_factors_of_a_chain() -> None:
    inputs, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3
    module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    network = ModuleNetwork(module.double(), (4,), lambda module, stream: None)
    objective = ModuleObjective(network, "cross_entropy", inputs, labels)
    record = ChainFactors().measure(objective, network.initialize(0).double(), 0, 0)
    hold(
        entry("measurements/chain-factors.parquet"), [*IDENTITY, "iteration", "flow_time", *record]
    )


def test_studies() -> None:
    for study in STUDIES.values():
        file = entry(study.data)
        for folder in EVIDENCE:
            if (table := folder / study.data).exists():
                hold(file, pd.read_csv(table, nrows=0).columns)
    hold(entry("studies/STUDY/claims.csv"), judged.COLUMNS)


def test_a_column_is_explained_with_the_files_that_have_it() -> None:
    words = columns.in_words(columns.explain("alignment_3"))
    assert words.splitlines()[0] == "alignment_l"
    assert "E‖B_{l+1} D_l‖² / (E‖B_{l+1}‖² E‖D_l‖²)" in words
    assert "file      decomposition.parquet" in words
    both = columns.explain("sharpness_gauss_newton")
    assert len({file.title for file, _ in both}) == 4


@pytest.mark.parametrize(
    ("given", "meant"),
    [("sharpnes_hessian", "sharpness_hessian"), ("alignmnet", "alignment_l"), ("LOSS", "loss")],
)
def test_near_misses_are_suggested(given: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"has a column {given}\. Did you mean .*{meant}"):
        columns.explain(given)


def test_the_page_of_columns_is_up_to_date() -> None:
    assert columns.PAGE.read_text(encoding="utf-8") == columns.page(), (
        "docs/columns.md is out of date: python -m eosflow.results.columns"
    )
