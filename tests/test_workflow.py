"""What the workflow plans after a change, on the results of a tiny configuration."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import Project, made_once

from eosflow.storage.errors import UserError
from eosflow.workflow import config, notes
from eosflow.workflow.plan import Plan

pytestmark = pytest.mark.slow

# What hangs on the tables alone.
SUMMARY = {"table1": 1, "table2": 1, "alignment": 1, "claims": 1, "report": 1, "manifest": 1}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with everything made."""
    return made_once(tmp_path_factory, "finished", lambda root: Project(root).make())


@pytest.fixture
def again(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, with Snakemake's notes."""
    root = tmp_path / "tree"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project.at(root)


@pytest.fixture
def clone(finished: Project, tmp_path: Path) -> Project:
    """A fresh clone with the finished results beside it, without Snakemake's notes."""
    project = Project(tmp_path / "clone")
    project.adopt(finished.results)
    return project


def figure_count(project: Project) -> int:
    return len(list(project.results.glob("figures/*.pdf")))


def test_everything_is_made_and_then_nothing(finished: Project) -> None:
    results = finished.results
    for name in ("table1.csv", "table2.csv", "table3.csv", "claims.csv", "report.html"):
        assert (results / name).stat().st_size > 0
    listed = json.loads((results / "manifest.json").read_text())["files"]
    names = {entry["file"] for entry in listed}
    for path in results.rglob("*"):
        relative = str(path.relative_to(finished.root))
        kept = path.is_file() and not path.name.startswith(".")
        other = relative.startswith(("results/logs", "results/benchmarks", "results/provenance"))
        if kept and not other and relative != "results/manifest.json":
            assert relative in names
    for entry in listed:
        assert (finished.root / entry["file"]).stat().st_size == entry["bytes"]
        record = json.loads((finished.root / entry["record"]).read_text())
        assert {"versions", "source"} & set(record)
    assert finished.jobs() == {}


def test_a_single_target_needs_no_cores_option(again: Project) -> None:
    (again.results / "table2.csv").unlink()
    output = again.run("results/table2.csv")
    assert "1 of 1 steps" in output


def test_snakemakes_own_report_holds_the_tables_and_figures(again: Project) -> None:
    output = again.run("--report", "snakemake-report.html")
    assert "Report created." in output
    page = (again.root / "snakemake-report.html").read_text()
    for name in ("table2.csv", "claims.csv", "power-law.png", "figure06.png"):
        assert name in page
    assert "One point per run that reached its target loss" in page  # the figure's caption


def test_any_snapshot_is_a_target(again: Project) -> None:
    folder = "results/dice-ce/n6/init0-subset0/decomposition"
    target = again.root / folder / "step000020.json"
    before = target.read_bytes()
    target.unlink()
    assert again.jobs(f"{folder}/step000020.json") == {"measure_snapshot": 1}
    again.run(f"{folder}/step000020.json")
    assert target.read_bytes() == before


def test_a_snapshot_that_does_not_exist_is_refused_at_planning(again: Project) -> None:
    folder = "results/dice-ce/n6/init0-subset0"
    output = again.run(f"{folder}/decomposition/step000301.json", "--dry-run", status=1)
    assert f"{folder} has no snapshot of iteration 301. It has those of iterations 0" in output
    assert "Traceback" not in output


def test_a_snapshot_of_a_run_that_is_not_trained_is_refused_by_the_job(tmp_path: Path) -> None:
    project = Project(tmp_path / "tree")
    target = "results/dice-ce/n6/init0-subset0/decomposition/step000301.json"
    assert project.jobs(target) == {"subset": 1, "train": 1, "measure_snapshot": 1}
    output = project.run(target, status=1)
    assert "has no snapshot of iteration 301. It has snapshots of iterations 0, 10" in output
    assert "Traceback" not in output


def test_one_experiment_changed_reruns_what_depends_on_it(again: Project) -> None:
    again.edit(
        "tiny.yaml",
        "squared_error, n: [6], target_loss: 0.2",
        "squared_error, n: [6], target_loss: 0.3",
    )
    figures = figure_count(again) - 2  # the study and Dice images hang on no run
    assert again.jobs() == SUMMARY | {
        "train": 1, "measure": 1, "collect": 1, "figure": figures,
    }  # fmt: skip


def test_a_new_seed_trains_only_the_new_runs(again: Project) -> None:
    again.edit("tiny.yaml", "initialization: [0]", "initialization: [0, 1]")
    jobs = again.jobs()
    assert (jobs["train"], jobs["measure"]) == (4, 4)
    assert "subset" not in jobs


def test_a_larger_n_trains_only_the_new_run(again: Project) -> None:
    again.edit("tiny.yaml", "n: [6, 12, 24]", "n: [6, 12, 24, 48]")
    jobs = again.jobs()
    assert (jobs["subset"], jobs["train"], jobs["measure"]) == (1, 1, 1)
    trained = {path: path.stat().st_mtime_ns for path in again.results.rglob("run.json")}
    output = again.make("results/table2.csv")
    # When it is looked at the run may already be measured.
    told = r"eosflow: dice-ce/n48/init0-subset0: (trained|measuring|done), iteration "
    assert re.search(told, output)
    assert all(path.stat().st_mtime_ns == time for path, time in trained.items())
    assert (again.results / "dice-ce/n48/init0-subset0/run.json").exists()


def test_without_snapshots_all_but_a_new_measurement_can_be_made(again: Project) -> None:
    program = [sys.executable, "-m", "eosflow.workflow.terminal"]
    command = [*program, "clean", "results", "--keep-tables", "--yes"]
    subprocess.run(command, cwd=again.root, env=again.environment, check=True)
    assert not list(again.results.glob("*/*/*/snapshots/*"))
    assert again.jobs() == {}
    listed = json.loads((again.results / "manifest.json").read_text())["files"]
    assert all((again.root / entry["file"]).is_file() for entry in listed)
    before = (again.results / "table2.csv").read_bytes()
    for name in ("table2.csv", "figures/figure06.png"):
        (again.results / name).unlink()
    again.make()
    assert (again.results / "table2.csv").read_bytes() == before
    assert (again.results / "figures" / "figure06.png").exists()
    jobs = again.jobs("--config", "measure=[decomposition, top-eigenvalues]")
    assert (jobs["train"], jobs["collect_measurement"]) == (4, 1)
    assert "subset" not in jobs


def test_snapshots_that_are_not_kept_are_missed_by_a_new_measurement_alone(again: Project) -> None:
    again.edit("config.yaml", "keep_snapshots: true", "keep_snapshots: false")
    run = "mse/n6/init0-subset0"
    folder = again.results / run
    before = [(again.results / "table2.csv").read_bytes(), *folder.glob("decomposition/*.json")]
    output = again.make()
    assert re.search(r"^discard +4$", output, re.MULTILINE)
    assert not re.search(r"^(train|measure|collect|figure) ", output, re.MULTILINE)
    assert not list(again.results.glob("*/*/*/snapshots/*"))
    assert again.jobs() == {}
    assert before == [
        (again.results / "table2.csv").read_bytes(),
        *folder.glob("decomposition/*.json"),
    ]
    listed = json.loads((again.results / "manifest.json").read_text())["files"]
    assert all((again.root / entry["file"]).is_file() for entry in listed)

    more = {"results_dir": str(again.results), "measure": ["decomposition", "top-eigenvalues"]}
    files = [again.root / "config.yaml", again.root / "tiny.yaml"]
    told = "\n".join(notes.notes(Plan(config.load(files, more))))
    assert "its snapshots were deleted, and top-eigenvalues is to be measured" in told
    assert re.search(r"^mse: .* Its training took \d+ s\.$", told, re.MULTILINE)
    (folder / "decomposition" / "step000010.json").unlink()
    jobs = Plan(config.load(files, {"results_dir": str(again.results)})).jobs
    with pytest.raises(UserError, match=f"the weight snapshots of .*{run} were deleted"):
        jobs.before_one_snapshot(run, "decomposition", "000010")

    trajectory = (folder / "trajectory.parquet").read_bytes()
    index = "measurements/top-eigenvalues/index.json"
    targets = [f"results/{run}/{name}" for name in (index, "cleaned.json")]
    again.run(*targets, "--config", "measure=[decomposition, top-eigenvalues]")
    assert (folder / index).exists()
    assert (folder / "decomposition" / "step000010.json").exists()
    assert (folder / "trajectory.parquet").read_bytes() == trajectory
    assert not (folder / "snapshots").exists()


def test_other_images_are_shown_and_deleted_ones_are_not_missed(again: Project) -> None:
    figure = "results/figures/figure05.pdf"
    subset = again.results / "data" / "subsets" / "dice-subset0.npz"
    subset.rename(subset.with_suffix(".away"))
    assert again.jobs(figure) == {}
    subset.with_suffix(".away").rename(subset)
    again.edit("tiny.yaml", "images_per_class: 40", "images_per_class: 39")
    assert again.jobs(figure) == {"subset": 1, "figure": 1}


def test_another_style_redraws_and_touches_no_result(again: Project) -> None:
    figures = figure_count(again)
    redrawn = {"figure": figures, "report": 1, "manifest": 1}
    again.edit("config.yaml", "against: iteration", "against: flow_time")
    assert again.jobs() == redrawn
    again.edit("config.yaml", "against: flow_time", "against: iteration")
    again.edit(
        "eosflow/results/figures/__init__.py", "FIGURES_VERSION = ", "FIGURES_VERSION = 1000 + "
    )
    assert again.jobs() == redrawn


@pytest.mark.parametrize("damage", ["edited", "deleted"])
def test_damaged_verdicts_of_a_study_are_made_again(again: Project, damage: str) -> None:
    path = again.results / "studies" / "edge-of-stability" / "claims.csv"
    content = path.read_bytes()
    if damage == "edited":
        path.write_bytes(content.replace(b"not enough runs", b"holds", 1))
    else:
        path.unlink()
    assert again.jobs() == {"study_claims": 1, "report": 1, "manifest": 1}
    again.make(f"results/{path.relative_to(again.results)}")
    assert path.read_bytes() == content


def test_a_study_and_its_figure_hang_on_its_version_alone(again: Project) -> None:
    figure = "results/figures/edge-of-stability.pdf"
    (again.root / figure).unlink()
    assert again.jobs(figure) == {"figure": 1}
    again.edit("eosflow/studies/edge_of_stability/__init__.py", "version=", "version=1000 + ")
    assert again.jobs(figure) == {"study": 1, "figure": 1}
    made = {"study": 1, "study_claims": 1, "figure": 1}
    assert again.jobs() == made | {"report": 1, "manifest": 1}
    assert again.jobs("results/table1.csv", "results/figures/figure06.pdf") == {}


VERSIONS = {
    "training": ("eosflow/runs/spec.py", "\nTRAINING_VERSION = "),
    "decomposition": (
        "eosflow/measurements/decomposition.py", "    version: ClassVar[int] = "
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("constant", "first"), [("training", "train"), ("decomposition", "measure")]
)
def test_a_raised_version_remakes_from_there_on(clone: Project, constant: str, first: str) -> None:
    """Also in a fresh clone, where Snakemake itself knows nothing of earlier versions."""
    file, old = VERSIONS[constant]
    clone.edit(file, old, f"{old}1000 + ")
    jobs = clone.jobs()
    stages = ["subset", "train", "measure", "collect"]
    assert [stage for stage in stages if stage in jobs] == stages[stages.index(first) :]


def test_touched_files_rerun_nothing(again: Project) -> None:
    for path in again.root.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path)
    assert again.jobs() == {}


def test_a_fresh_clone_beside_old_results_reruns_nothing(clone: Project) -> None:
    assert clone.jobs() == {}


def test_results_copied_without_their_times_train_nothing(clone: Project) -> None:
    paths = [path for path in clone.results.rglob("*") if path.is_file()]
    shuffled = random.Random(0)
    for path in paths:
        age = shuffled.uniform(0, 1e6)
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    jobs = clone.jobs()
    assert "train" not in jobs
    assert "subset" not in jobs


def test_results_of_another_specification_are_named_and_kept(clone: Project) -> None:
    clone.edit("tiny.yaml", "width: 8", "width: 7")
    plan = clone.run("--dry-run", "results/mse/n6/init0-subset0/manifest.json")
    assert (
        "mse: 1 finished run (such as mse/n6/init0-subset0) cannot be used: network.width: 7"
        in plan
    )
    assert "dice-ce: 3 finished runs" in plan
    old = (clone.results / "mse/n6/init0-subset0/trajectory.parquet").read_bytes()
    clone.make("results/mse/n6/init0-subset0/manifest.json")
    kept = list((clone.results / "mse/n6").glob("init0-subset0.before-*"))
    assert [(folder / "trajectory.parquet").read_bytes() for folder in kept] == [old]
    # The others were not asked for and are as they were.
    assert not list((clone.results / "dice-ce").rglob("*.before-*"))
    assert clone.jobs("results/mse/n6/init0-subset0/manifest.json") == {}


def test_a_run_less_makes_the_tables_again(clone: Project) -> None:
    clone.edit("tiny.yaml", "n: [6, 12, 24]", "n: [6, 12]")
    jobs = clone.jobs()
    assert jobs["collect"] == 1
    assert "train" not in jobs


def test_values_from_the_command_line_are_checked_and_used(clone: Project) -> None:
    train = "results/dice-ce/n6/init0-subset0/manifest.json"
    assert clone.jobs(
        train, "--config", "optimizers={exponential-euler: {max_step_size: 1e-1}}"
    ) == {"train": 1}
    output = clone.run(
        train, "--dry-run", "--config", "optimizers={exponential-euler: {max_step: 1}}", status=1
    )
    place = "optimizers.exponential-euler"
    assert f"{place}.max_step: there is no such key; allowed here: max_step_size" in output
    assert "Did you mean max_step_size?" in output
    assert "Traceback" not in output
    assert "File " not in output


def test_finished_only_makes_the_tables_of_what_there_is(clone: Project) -> None:
    (clone.results / "dice-ce/n24/init0-subset0/manifest.json").unlink()
    jobs = clone.jobs("--config", "finished_only=true")
    assert "train" not in jobs and "measure" not in jobs
    assert jobs["collect"] == 1
    output = clone.run("--config", "finished_only=true", "--dry-run")
    assert "made of the 3 runs that have finished, of 4" in output


def test_finished_only_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path / "tree")
    output = project.run("--config", "finished_only=true", "--dry-run", status=None)
    assert "none of the 4 runs of the configuration has finished in results" in output
    assert "Traceback" not in output


def test_a_named_table_is_never_up_to_date_on_other_runs(clone: Project) -> None:
    """Not even where a killed collect has left nothing that Snakemake could compare it with."""
    clone.edit("tiny.yaml", "n: [6, 12, 24]", "n: [6, 12, 24, 48]")
    for file in ("decomposition.parquet", "runs.parquet", "provenance/collect.json"):
        (clone.results / file).unlink()
    needed = {"subset": 1, "train": 1, "measure": 1, "collect": 1}
    assert clone.jobs("results/table2.csv") == needed | {"table2": 1}
    assert clone.jobs("results/figures/figure06.pdf") == needed | {"figure": 1}
