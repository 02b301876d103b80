"""Studies made of runs: what a config may say of them, their table, and one from start to end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fuzzing.nursery import Nursery
from project import ROOT, Project
from torch.nn import functional

from eosflow import objectives
from eosflow.measurements.accuracy import Accuracy
from eosflow.networks.mlp import MLPSettings
from eosflow.storage.columns import types_of
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json
from eosflow.studies.runs import StudyRun, by_snapshot
from eosflow.workflow import config, grid, plan, products

# Squared error, of which a large step makes infinity.
STUDY: dict[str, Any] = {
    "study": "sgd-grid",
    "dataset": "dice",
    "criterion": "squared_error",
    "n": [12],
    "optimizer": "gradient-descent",
    "batch": "shuffled",
    "batches": {"shuffled": {"size": 4}},
    "measure": ["accuracy", "top-eigenvalues"],
    "measurements": {"accuracy": {"held_out": 30}, "top-eigenvalues": {"k": 2}},
    "stop": {"max_iterations": 30},
    "grid": {"optimizers.gradient-descent.learning_rate": [0.01, 1000.0]},
}
SMALL = {
    "select": [],
    "studies": ["sgd-grid"],
    "seeds": {"initialization": [0], "subset": [0]},
    "networks": {"mlp": {"width": 8, "depth": 3}},
    "snapshots": {"iterations": {"every": 10}},
    "datasets": {"dice": {"image_size": 8, "images_per_class": 40}},
    "experiments": {
        "sgd": STUDY,
        **{f"{name}-ce": {"n": [6]} for name in ("dice", "cifar10", "atrialfibrillation", "sst")},
        "cifar10-mse": {"n": [6]},
    },
}
FINE, WILD = "sgd-learning-rate-0.01", "sgd-learning-rate-1000"


def load(**changes: Any) -> dict[str, Any]:
    return config.load([ROOT / "config.yaml"], SMALL | changes)


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(**changes)
    return str(caught.value)


def test_a_grid_is_every_combination_by_its_values() -> None:
    axes = {"optimizers.adam.learning_rate": ["1e-2", 0.1], "batches.shuffled.size": [8, 128]}
    given = {"dataset": "dice", "batches": {"shuffled": {"size": 1}}, "grid": axes}
    found = grid.unfolded({"plain": {"dataset": "dice"}, "a": given})
    rates = ("0.01", "0.1")
    names = [f"a-learning-rate-{rate}-size-{size}" for rate in rates for size in (8, 128)]
    assert list(found) == ["plain", *names]
    assert found[names[3]] == {
        "dataset": "dice",
        "batches": {"shuffled": {"size": 128}},
        "optimizers": {"adam": {"learning_rate": 0.1}},
    }
    assert given["batches"] == {"shuffled": {"size": 1}}  # it is not changed
    shared = {"learning_rate": 1}  # as an alias of YAML has it
    both = {
        "a": {"optimizers": {"adam": shared, "sam": shared}, "grid": {"optimizers.sam.rho": [2]}}
    }
    optimizers = grid.unfolded(both)["a-rho-2"]["optimizers"]
    assert optimizers == {"adam": {"learning_rate": 1}, "sam": {"learning_rate": 1, "rho": 2}}
    with pytest.raises(UserError, match="a-n-8 is there already"):
        grid.unfolded({"a": {"grid": {"n": [8]}}, "a-n-8": {}})


def test_the_runs_of_a_study_enter_no_table_of_the_paper() -> None:
    alone = plan.Plan(load())
    runs = [f"{name}/n12/init0-subset0" for name in (FINE, WILD)]
    assert (alone.selected, alone.study_runs) == ([], {"sgd-grid": runs})
    assert list(alone.measured_of(runs[0])) == ["accuracy", "top-eigenvalues"]
    assert alone.runs[runs[0]].target_loss is None
    assert "tables" not in products.products(alone)
    assert list(alone.figures) == ["sgd-grid"]
    both = plan.Plan(load(select=["dice-ce"]))
    assert [run.experiment for run in map(both.run, both.selected)] == ["dice-ce"]
    assert not [name for name in both.figures if name.startswith("sgd-learning")]
    made = products.products(both)
    assert set(made["tables"].runs) == set(both.selected)
    assert list(made["studies/sgd-grid/table"].runs) == runs
    assert both.runs[runs[0]].key == alone.runs[runs[0]].key
    without = plan.Plan(load(select=["dice-ce"], studies=[]))
    assert list(without.runs) == both.selected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"studies": []}, "there is nothing to make"),
        ({"select": [FINE]}, f"{FINE} is of the study sgd-grid: take it out"),
        ({"experiments": {}}, "no experiment has `study: sgd-grid`"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(**changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"study": "sgd"}, "'sgd' was given; allowed: "),
        ({"measure": ["accuracy"]}, f"{FINE}.measure: top-eigenvalues is missing"),
        ({"grid": {"n": 3}}, "grid.n: 3 was given; it must be a list"),
        (
            {"measurements": {"accuracy": {"held_out": 121}}},
            "test split of the dataset has 120",
        ),
        ({"measurements": {"accuracy": {"held_out": 30, "validation": 30}}}, "held_out larger"),
        ({"grid": {"networks.mlp.widht": [3]}}, "widht: there is no such key"),
    ],
)
def test_an_experiment_of_a_study_is_checked(change: dict[str, Any], words: str) -> None:
    experiments = SMALL["experiments"] | {"sgd": STUDY | change}
    assert words in refusal(experiments=experiments)


def test_other_experiments_need_a_target_and_share_what_is_measured() -> None:
    plain = {name: value for name, value in STUDY.items() if name not in ("study", "grid")}
    message = refusal(experiments=SMALL["experiments"] | {"sgd": plain})
    assert "experiments.sgd: target_loss is missing" in message
    assert "experiments.sgd.measure: only experiments of a study have their own" in message


def run(experiment: str, stopped: str, **measured: pd.DataFrame) -> StudyRun:
    spec = {
        "experiment": experiment, "n": 12, "dataset": {"name": "dice"}, "network": {"name": "mlp"},
        "init_seed": 3, "subset_seed": 0,
        "optimizer": {"name": "gradient-descent", "learning_rate": 0.1}, "batch": {"name": "full"},
    }  # fmt: skip
    return StudyRun(spec, stopped, pd.DataFrame(), 1.0, measured)


def test_the_table_has_a_row_per_snapshot_and_one_of_a_run_without_any() -> None:
    loss = pd.DataFrame({"iteration": [0, 10], "flow_time": [0.0, 1.0], "loss": [2.0, 1.0]})
    top = pd.DataFrame({"iteration": [10], "flow_time": [1.0], "loss": [9.0], "eigenvalue_1": [7]})
    table = by_snapshot(
        [run("a", "max_iterations", accuracy=loss, top=top), run("b", "diverged", top=top[:0])]
    )
    assert table["experiment"].tolist() == ["a", "a", "b"]
    assert table["loss"].tolist()[:2] == [2.0, 1.0]  # that of the measurement that comes first
    assert table["eigenvalue_1"].isna().tolist() == [True, False, True]
    assert table["stopped"].tolist() == ["max_iterations"] * 2 + ["diverged"]
    assert set(table["batch"]) == {12}  # the full batch, in numbers
    assert (table["seed"] == 3).all()


def test_accuracy_is_the_share_of_largest_outputs_on_both_sets() -> None:
    stream = torch.Generator().manual_seed(0)
    network = MLPSettings(width=8, depth=3).build((5,), 3)
    theta, sets, expected = network.initialize(0).double(), [], {}
    layers = network.layers(theta)
    for prefix, count in (("", 7), ("held_out_", 11)):
        inputs = torch.randn(count, 5, generator=stream, dtype=torch.float64)
        labels = torch.randint(0, 3, (count,), generator=stream)
        sets.append(objectives.make(network, "cross_entropy", inputs, labels))
        outputs = inputs
        for number, (weight, bias) in enumerate(layers):
            outputs = (functional.elu(outputs) if number else outputs) @ weight.T + bias
        expected[f"{prefix}loss"] = functional.cross_entropy(outputs, labels).item()
        expected[f"{prefix}accuracy"] = (outputs.argmax(1) == labels).double().mean().item()
    found = Accuracy().measure(sets[0], theta, 0, 0, sets[1])
    assert found == pytest.approx(expected, rel=1e-12)
    apart, rest = (sets[1].batch(rows) for rows in (torch.arange(4), torch.arange(4, 11)))
    split = Accuracy(held_out=11, validation=4)
    found = split.measure(*(sets[0], theta, 0, 0), sets[1])
    assert tuple(found) == tuple(types_of(split.columns(3)))
    for prefix, part in (("held_out_", rest), ("validation_", apart)):
        alone = Accuracy().measure(sets[0], theta, 0, 0, part)
        assert found[f"{prefix}loss"] == pytest.approx(alone["held_out_loss"], rel=1e-12)
        assert found[f"{prefix}accuracy"] == alone["held_out_accuracy"]


class Study(Project):
    """The workflow with a study of two runs and nothing else."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        import yaml

        (root / "tiny.yaml").write_text(
            yaml.safe_dump(SMALL | {"device": "cpu", "keep_snapshots": False})
        )


@pytest.mark.slow
def test_a_study_from_start_to_end(tmp_path: Path, nursery: Nursery) -> None:
    project = Study(tmp_path / "tree").hurry(nursery)
    per_run = {"train": 2, "discard": 2}
    whole = per_run | {"subset": 2, "study": 1, "study_claims": 1, "report": 1}
    made = project.make("studies")
    assert dict(re.findall(r"^(\w+) +(\d+)$", made.split("total", 1)[0], re.MULTILINE)) == {
        "studies": "1", **{rule: str(count) for rule, count in whole.items()}
    }  # fmt: skip
    path = project.results / "studies" / "sgd-grid" / "table.csv"
    table = pd.read_csv(path)
    fine, wild = (table[table["experiment"] == name] for name in (FINE, WILD))
    assert fine["iteration"].tolist() == [0, 10, 20, 30]
    assert set(wild["stopped"]) == {"diverged"}  # a row that says so, and no job that failed
    record = read_json(
        project.results / FINE / "n12/init0-subset0/measurements/accuracy/index.json"
    )
    assert record["held_out"]["file"] == "dice-held-out.npz"
    origin = read_json(project.results / "data/subsets/dice-held-out.json")
    assert (origin["size"], origin["pool"], origin["subset_seed"]) == (30, 120, None)
    page = (project.results / "report.html").read_text(encoding="utf-8")
    assert "Made of runs of this configuration; seed 0." in page
    assert 'id="run-sgd-learning-rate-1000-n12-init0-subset0"' in page
    # The run that was cut off could go on from its snapshots; the one that diverged could not.
    left = [
        len(list((project.results / name / "n12/init0-subset0").glob("snapshots/*")))
        for name in (FINE, WILD)
    ]
    assert left == [4, 0]
    assert project.jobs("studies") == {}
    content = path.read_bytes()
    for _ in range(2):  # also where it goes bad again in the same way
        path.write_bytes(content.replace(b"diverged", b"converged"))
        again = project.run("results/studies/sgd-grid/table.csv", "--cores", "2")
        assert "table.csv is damaged" in again
        assert path.read_bytes() == content
