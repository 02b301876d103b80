"""Studies made of runs: what a config may say of them, their table, and one from start to end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from fuzzing.nursery import Nursery
from project import ROOT, Project
from torch.nn import functional
from verdicts import study_run

from eosflow import objectives
from eosflow.measurements.accuracy import Accuracy
from eosflow.networks.mlp import MLPSettings
from eosflow.storage.columns import types_of
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json
from eosflow.studies.runs import by_snapshot
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


def test_a_grid_is_every_combination_by_its_values() -> None:
    axes = {"optimizers.adam.learning_rate": ["1e-2", 0.1], "batches.shuffled.size": [8, 128]}
    given = {"dataset": "dice", "batches": {"shuffled": {"size": 1}}, "grid": axes}
    found = grid.unfolded({"plain": {"dataset": "dice"}, "a": given})
    rates = ("0.01", "0.1")
    names = [f"a-learning-rate-{rate}-size-{size}" for rate in rates for size in (8, 128)]
    assert list(found) == ["plain", *names]
    last = {"batches": {"shuffled": {"size": 128}}, "optimizers": {"adam": {"learning_rate": 0.1}}}
    assert found[names[3]] == {"dataset": "dice", **last}
    assert given["batches"] == {"shuffled": {"size": 1}}  # it is not changed
    shared = {"learning_rate": 1}  # as an alias of YAML has it
    both = {"optimizers": {"adam": shared, "sam": shared}, "grid": {"optimizers.sam.rho": [2]}}
    optimizers = grid.unfolded({"a": both})["a-rho-2"]["optimizers"]
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


def experiment(**changes: Any) -> dict[str, Any]:
    return {"experiments": SMALL["experiments"] | {"sgd": STUDY | changes}}


PLAIN = experiment()
PLAIN["experiments"]["sgd"] = {
    name: value for name, value in STUDY.items() if name not in ("study", "grid")
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"studies": []}, "there is nothing to make"),
        ({"select": [FINE]}, f"{FINE} is of the study sgd-grid: take it out"),
        ({"experiments": {}}, "no experiment has `study: sgd-grid`"),
        (experiment(study="sgd"), "'sgd' was given; allowed: "),
        (experiment(measure=["accuracy"]), f"{FINE}.measure: top-eigenvalues is missing"),
        (experiment(grid={"n": 3}), "grid.n: 3 was given; input should be a valid list"),
        (experiment(measurements={"accuracy": {"held_out": 121}}), "test split .* has 120"),
        (experiment(measurements={"accuracy": {"held_out": 30, "validation": 30}}), "held_out lar"),
        (experiment(grid={"networks.mlp.widht": [3]}), "widht: there is no such key"),
        (PLAIN, "experiments.sgd: target_loss is missing"),
        (PLAIN, "experiments.sgd.measure: only experiments of a study have their own"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(**changes)


def test_the_table_has_a_row_per_snapshot_and_one_of_a_run_without_any() -> None:
    loss = pd.DataFrame({"iteration": [0, 10], "flow_time": [0.0, 1.0], "loss": [2.0, 1.0]})
    top = pd.DataFrame({"iteration": [10], "flow_time": [1.0], "loss": [9.0], "eigenvalue_1": [7]})
    full = {"optimizer": {"name": "adam"}, "seed": 3, "batch": {"name": "full"}}
    whole = study_run(measured={"accuracy": loss, "top": top}, **full)
    table = by_snapshot([whole, study_run(measured={"top": top[:0]}, stopped="diverged", **full)])
    assert table["loss"].tolist()[:2] == [2.0, 1.0]  # that of the measurement that comes first
    assert table["eigenvalue_1"].isna().tolist() == [True, False, True]
    assert table["stopped"].tolist() == ["max_iterations"] * 2 + ["diverged"]
    assert set(table["batch"]) == {100}  # the full batch, in numbers
    assert (table["seed"] == 3).all()


def test_accuracy_is_the_share_of_largest_outputs_on_both_sets() -> None:
    stream = torch.Generator().manual_seed(0)
    network = MLPSettings(width=8, depth=3).build((5,), 3)
    theta, sets, expected = network.initialize(0).double(), [], {}
    for prefix, count in (("", 7), ("held_out_", 11)):
        inputs = torch.randn(count, 5, generator=stream, dtype=torch.float64)
        labels = torch.randint(0, 3, (count,), generator=stream)
        sets.append(objectives.make(network, "cross_entropy", inputs, labels))
        outputs = inputs
        for number, (weight, bias) in enumerate(network.layers(theta)):
            outputs = (functional.elu(outputs) if number else outputs) @ weight.T + bias
        expected[f"{prefix}loss"] = functional.cross_entropy(outputs, labels).item()
        expected[f"{prefix}accuracy"] = (outputs.argmax(1) == labels).double().mean().item()
    at = theta, 0, 0
    assert Accuracy().measure(sets[0], *at, sets[1]) == pytest.approx(expected, rel=1e-12)
    apart, rest = (sets[1].batch(rows) for rows in (torch.arange(4), torch.arange(4, 11)))
    split = Accuracy(held_out=11, validation=4)
    found = split.measure(sets[0], *at, sets[1])
    assert tuple(found) == tuple(types_of(split.columns(3)))
    for prefix, part in (("held_out_", rest), ("validation_", apart)):
        alone = Accuracy().measure(sets[0], *at, part)
        for name in ("loss", "accuracy"):
            assert found[prefix + name] == pytest.approx(alone[f"held_out_{name}"], rel=1e-12)


class Study(Project):
    """The workflow with a study of two runs and nothing else."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        settings = SMALL | {"device": "cpu", "keep_snapshots": False}
        (root / "tiny.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.slow
def test_a_study_from_start_to_end(tmp_path: Path, nursery: Nursery) -> None:
    project = Study(tmp_path / "tree").hurry(nursery)
    whole = {"train": 2, "discard": 2, "subset": 2, "study": 1, "study_claims": 1, "report": 1}
    made = project.make("studies").split("total", 1)[0]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", made, re.MULTILINE))
    assert {rule: int(jobs[rule]) for rule in jobs} == {"studies": 1, **whole}
    path = project.results / "studies" / "sgd-grid" / "table.csv"
    table = pd.read_csv(path)
    fine, wild = (table[table["experiment"] == name] for name in (FINE, WILD))
    assert fine["iteration"].tolist() == [0, 10, 20, 30]
    assert set(wild["stopped"]) == {"diverged"}  # a row that says so, and no job that failed
    run = "n12/init0-subset0"
    record = read_json(project.results / FINE / run / "measurements/accuracy/index.json")
    assert record["held_out"]["file"] == "dice-held-out.npz"
    origin = read_json(project.results / "data/subsets/dice-held-out.json")
    assert (origin["size"], origin["pool"], origin["subset_seed"]) == (30, 120, None)
    page = (project.results / "report.html").read_text(encoding="utf-8")
    assert "Made of runs of this configuration; seed 0." in page
    assert 'id="run-sgd-learning-rate-1000-n12-init0-subset0"' in page
    # The run that was cut off could go on from its snapshots; the one that diverged could not.
    for name, left in ((FINE, 4), (WILD, 0)):
        assert len(list((project.results / name / run).glob("snapshots/*"))) == left
    assert project.jobs("studies") == {}
    content = path.read_bytes()
    for _ in range(2):  # also where it goes bad again in the same way
        path.write_bytes(content.replace(b"diverged", b"converged"))
        again = project.run("results/studies/sgd-grid/table.csv", "--cores", "2")
        assert "table.csv is damaged" in again
        assert path.read_bytes() == content
