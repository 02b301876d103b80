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
from eosflow.measurements.factors import decompose
from eosflow.networks.module import ModuleNetwork
from eosflow.networks.perceptron import MLP
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.gradient import GradientDescent
from eosflow.results import claims, columns
from eosflow.results.collect import RUN_COLUMNS
from eosflow.results.run_summaries import IDENTITY
from eosflow.runs.names import view_of
from eosflow.runs.trajectory import COLUMNS
from eosflow.storage.columns import types_of
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES

pytestmark = pytest.mark.registry
ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = sorted((ROOT / "docs" / "reproduction").glob("*/"))
TRAJECTORY = "EXP/nN/RUN/trajectory.parquet"
ADD = "describe it where the file is made, or in eosflow/results/columns.yaml"


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


def problem() -> tuple[MLPObjective, torch.Tensor]:
    """Six examples, three classes, two affine layers."""
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 4, generator=stream, dtype=torch.float64)
    labels = torch.arange(6) % 3
    network = MLP((4, 5, 3))
    objective = MLPObjective(network, "cross_entropy", inputs, labels)
    return objective, network.initialize(0)


def test_the_columns_of_any_trajectory() -> None:
    hold(entry(TRAJECTORY), COLUMNS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizers_facts_are_its_columns(name: str) -> None:
    objective, theta = problem()
    optimizer = OPTIMIZERS[name].example()
    state = optimizer.init(objective, theta, 0)
    step = optimizer.step(objective.evaluate(theta), state)
    assert step is not None
    kinds = types_of(optimizer.columns(len(theta), 3))
    assert step.facts.keys() == kinds.keys()
    for fact, value in step.facts.items():
        assert kinds[fact] in ("float64", "int64", "bool")
        assert isinstance(value, bool) == (kinds[fact] == "bool"), fact
    hold(entry(TRAJECTORY, name), step.facts)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_measurements_numbers_are_its_columns(name: str) -> None:
    objective, theta = problem()
    measurement = MEASUREMENTS[name].example().during(GradientDescent.example(), 0)
    held_out = [objective] if measurement.held_out_examples else []
    record = measurement.measure(objective, theta, 0, 0, *held_out)  # type: ignore[call-arg]
    # What is measured of fewer parameters, layers or outliers than there could be has fewer.
    assert set(types_of(measurement.columns(3))) <= set(record)
    frame = entry(f"{view_of(name)}.parquet")
    hold(frame, [*IDENTITY, "iteration", "flow_time", *record], whole=False)


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
