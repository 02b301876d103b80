"""Planning the full paper: 368 runs of 100 snapshots, as files that hold what planning reads."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from project import ROOT, Project

from eosflow.datasets.base import SUBSET_VERSION
from eosflow.measurements.decomposition import Decomposition
from eosflow.objectives.base import WORKSPACE_BYTES
from eosflow.optimizers.rosenbrock import CAPACITY, ExponentialRosenbrock
from eosflow.runs.names import index_key, step_name
from eosflow.storage import provenance
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES
from eosflow.workflow import config, expand, gpu, plan, products, resources, sizes

# Four times what it may take on a quiet machine, which this one may not be.
SECONDS_ALL, SECONDS_ONE = 20.0, 12.0
SNAPSHOTS = [0, 10, *range(100, 9900, 100)]
ONE = "cifar10-ce/n390/init0-subset2"


def write(path: Path, content: object = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("" if content is None else json.dumps(content))


def add_training(results: Path, plan: plan.Plan) -> None:
    for dataset in plan.config["datasets"]:
        settings = {k: v for k, v in plan.data.record(dataset).items() if k != "name"}
        facts = {
            "settings": settings,
            "size": plan.data.size(dataset),
            "subset_version": SUBSET_VERSION,
        }
        for seed in range(4):
            write(results / f"data/subsets/{dataset}-subset{seed}.npz")
            whose = {"dataset": dataset, "subset_seed": seed}
            write(results / f"data/subsets/{dataset}-subset{seed}.json", whose | facts)
    entries = [
        {
            "iteration": iteration,
            "file": f"snapshots/{step_name(iteration)}.safetensors",
            "sha256": f"{iteration:064x}",
            "flow_time": 0.01 * iteration,
            "loss": 1.0,
        }
        for iteration in SNAPSHOTS
    ]
    for folder, run in plan.runs.items():
        manifest = {"key": run.key, "stopped": "target_loss", "snapshots": entries}
        record = {"key": run.key, "spec": run.to_record(), "manifest": manifest}
        write(results / folder / "run.json", record)
        write(results / folder / "manifest.json", manifest)


def add_the_rest(results: Path, plan: plan.Plan) -> None:
    entries = [
        {"iteration": iteration, "file": f"{step_name(iteration)}.json", "sha256": "0" * 64}
        for iteration in SNAPSHOTS
    ]
    measurement = Decomposition()
    index = {
        "version": measurement.version,
        "measurement": index_key(measurement),
        "snapshots": entries,
    }
    for folder in plan.runs:
        write(results / folder / "decomposition" / "index.json", index)
    specification = digest(sorted(run.key for run in plan.runs.values()))
    sealed(results, products.DICE_PARAMETERS, ())
    for name in STUDIES:
        study = f"studies/{name}/table.csv"
        sealed(results, (study, f"provenance/{study}".replace("csv", "json")), ())
    *others, manifest = plan.summaries.products.values()
    for product in others:
        if product.record in manifest.sources:  # there could be figures of other experiments
            sealed(results, product.files, product.sources, specification)
    sources = [provenance.entry(results / source) for source in manifest.sources]
    write(results / products.MANIFEST, {"sources": sources})


def sealed(
    results: Path, files: tuple[str, ...], sources: tuple[str, ...], specification: str = ""
) -> None:
    """Empty files, and the record that tells what they are made of."""
    for file in files[:-1]:
        write(results / file)
    made, read = ([results / file for file in part] for part in (files[:-1], sources))
    provenance.seal(results / files[-1], made, read, {"specification": specification})


@pytest.fixture(scope="module")
def paper() -> plan.Plan:
    return plan.Plan(config.load([ROOT / "config.yaml"]))


@pytest.mark.slow
def test_the_paper_is_planned_in_seconds_at_every_stage(paper: plan.Plan, tmp_path: Path) -> None:
    project = Project(tmp_path / "tree")
    per_run = {"train": 368, "measure": 368}
    data = {"fetch": 3, "subset": 16, "dice_parameters": 1}
    studies = {"study": 3, "study_claims": 1}
    tables = {"collect": 1, "table1": 1, "table2": 1, "alignment": 1}
    tables |= {"table3": 1, "claims": 1}
    drawn = {"figure": 48, "report": 1, "manifest": 1}

    def planned(*targets: str) -> dict[str, int]:
        started = time.monotonic()
        jobs = project.jobs(*targets, tiny=False)
        assert time.monotonic() - started < (SECONDS_ONE if targets else SECONDS_ALL)
        return jobs

    assert planned() == per_run | data | studies | tables | drawn
    assert planned("results/figures/figure05.pdf") == {"subset": 1, "figure": 1}

    add_training(project.results, paper)
    everything = {"measure": 368} | studies | tables | drawn | {"dice_parameters": 1}
    assert planned() == everything
    assert planned("results/table2.csv") == {"measure": 368, "collect": 1, "table2": 1}
    assert planned("results/figures/work-precision.pdf") == {"study": 1, "figure": 1}
    snapshot = f"results/{ONE}/decomposition/step000300.json"
    assert planned(snapshot) == {"measure_snapshot": 1}

    add_the_rest(project.results, paper)
    assert planned() == {}
    assert planned("results/figures/figure04.pdf") == {}
    assert planned(snapshot) == {"measure_snapshot": 1}
    (project.results / "figures" / "figure04.pdf").unlink()
    assert planned("results/figures/figure04.pdf") == {"figure": 1}
    (project.results / "report.html").unlink()
    assert planned() == {"figure": 1, "report": 1, "manifest": 1}  # what is gone is made again


def test_the_figures_are_those_of_the_selected_experiments(paper: plan.Plan) -> None:
    assert len(list(paper.figures)) == 42 + 6
    settings = config.load([ROOT / "config.yaml"], {"select": ["dice-ce"]})
    chosen = plan.Plan(settings).figures
    assert [name for name in chosen if name.startswith("figure")] == [
        f"figure{number:02d}" for number in (5, 6, 10, 14, 19, 23, 28, 33, 38)
    ]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda plan: plan.run("cifar10-ce/n391/init0-subset2"), ["no run", ONE]),
        (
            lambda plan: plan.summaries.before_figure("figure43"),
            ["no figure figure43", "figure42, "],
        ),
        (lambda plan: plan.data.archive("x.zip"), ["no archive x.zip", "AtrialFibrillation.zip"]),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_refused_by_name(paper: plan.Plan, ask, words) -> None:
    with pytest.raises(UserError) as caught:
        ask(paper)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([7], "7"),
        ([0, 10, 100], "0, 10, 100"),
        ([0, 10, 100, 200, 300, 400, 437], "0, 10, 100 to 400 in steps of 100, 437"),
        ([0, 1, 2, 3, 10], "0 to 3 in steps of 1, 10"),
    ],
)
def test_listed(numbers: list[int], text: str) -> None:
    assert sizes.listed(numbers) == text


def test_costs_grow_with_the_work(paper: plan.Plan) -> None:
    small, large = ONE, "cifar10-ce/n6250/init0-subset2"
    low, high = paper.runs[small], paper.runs[large]
    assert 700 < resources.memory(low) < resources.memory(high) < 64_000
    for minutes in (resources.training_minutes, resources.measuring_minutes):
        assert 10 < minutes(low, paper.config) < minutes(high, paper.config) < 7 * 24 * 60


@pytest.mark.parametrize("table", ["tables", "tables-vit"])
def test_a_network_that_sees_its_examples_in_chunks_needs_no_memory_for_all(table: str) -> None:
    """Of TRACER's step on 128 images 1.15 GB were seen with ViT and 0.77 GB with ResNet-20."""
    files = [ROOT / "config.yaml", ROOT / "config/tables.yaml", ROOT / f"config/{table}.yaml"]
    runs = expand.expand(config.load(files))
    run = runs["augmented-tracer/n50000/init0-subset0"]
    images = 50_000 * 3072 * 8 / 1e6
    assert images + 1150 < resources.memory(run) < images + 2500
    half = resources.memory(dataclasses.replace(run, n=25_000))
    assert resources.memory(run) - half == pytest.approx(images / 2, abs=1)
    assert resources.WORKSPACE_BYTES == WORKSPACE_BYTES


def test_a_cluster_decides_where_auto_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(device: str, found: tuple[str, ...], local: bool) -> int:
        monkeypatch.setattr(gpu, "devices", lambda: found)
        return resources.gpus(device, local=local)

    assert [asked("auto", found, True) for found in ((), ("0",))] == [0, 1]
    assert asked("auto", ("0",), False) == 0  # the profile's set-resources say
    assert [asked("cpu", ("0",), local) for local in (True, False)] == [0, 0]
    assert [asked("cuda", ("0",), True), asked("cuda", (), False)] == [1, 1]
    with pytest.raises(UserError, match="device: cuda was given, but no GPU"):
        asked("cuda", (), True)


def test_an_adaptive_run_is_given_memory_for_its_krylov_vectors(paper: plan.Plan) -> None:
    run = paper.runs["cifar10-ce/n6250/init0-subset2"]
    row = run.parameters / 1e6  # megabytes of a vector, per byte of a number

    def asked(tolerance: float) -> int:
        adaptive = ExponentialRosenbrock(tolerance=tolerance)
        return resources.memory(dataclasses.replace(run, optimizer=adaptive))

    # Float32 rows down to a tolerance of 1e-4, float64 rows below it. Exponential Euler asks for
    # 11 blocks of 11 vectors in float64, which is more.
    assert asked(1e-5) - asked(1e-2) == pytest.approx(4 * CAPACITY * row, abs=2)
    difference = resources.memory(run) - asked(1e-2)
    assert difference == pytest.approx((8 * 121 - 4 * CAPACITY - 8 * 8) * row, abs=2)
