"""What the workflow plans after a change, on the results of a tiny configuration."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import Project, made_once

from eosflow.storage.files import read_json

pytestmark = pytest.mark.slow

# What hangs on the tables alone.
SUMMARY = {"tables": 1, "report": 1, "manifest": 1}


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


def test_everything_is_made_and_then_nothing(finished: Project) -> None:
    results = finished.results
    for name in ("table1.csv", "table2.csv", "table3.csv", "claims.csv", "report.html"):
        assert (results / name).stat().st_size > 0
    listed = read_json(results / "manifest.json")["files"]
    names = {entry["file"] for entry in listed}
    for path in results.rglob("*"):
        relative = str(path.relative_to(finished.root))
        kept = path.is_file() and not path.is_symlink() and not path.name.startswith(".")
        notes = ("logs", "benchmarks", "provenance")
        other = relative.startswith(tuple(f"results/{name}" for name in notes))
        if kept and not other and path.name not in ("measured.json", "manifest.json"):
            assert relative in names
    for entry in listed:
        assert (finished.root / entry["file"]).stat().st_size == entry["bytes"]
        record = read_json(finished.root / entry["record"])
        assert {"versions", "source"} & set(record)
    assert finished.jobs() == {}
    command = [sys.executable, "-m", "eosflow.workflow.terminal", "verify", "results"]
    subprocess.run(command, cwd=finished.root, env=finished.environment, check=True)


def test_a_single_target_needs_no_cores_option(again: Project) -> None:
    (again.results / "table2.csv").unlink()
    output = again.run("results/table2.csv")
    assert "1 of 1 steps" in output


def test_snakemakes_own_report_holds_the_tables_and_the_page(again: Project) -> None:
    output = again.run("--report", "snakemake-report.html")
    assert "Report created." in output
    page = (again.root / "snakemake-report.html").read_text()
    for name in ("table2.csv", "claims.csv", "report.html"):
        assert name in page


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
    """And back again it makes the tables alone, for the run is still there."""
    old = "squared_error, n: [6], target_loss: 0.2"
    new = "squared_error, n: [6], target_loss: 0.3"
    again.edit("tiny.yaml", old, new)
    anew = SUMMARY | {"collect": 1, "figures": 1}
    assert again.jobs() == anew | {"train": 1, "measure": 1}
    run = "results/mse/n6/init0-subset0/measured.json"
    again.run(run)
    assert again.jobs() == anew
    again.edit("tiny.yaml", new, old)
    assert again.jobs() == {}
    assert len(list(again.results.glob("runs/*/manifest.json"))) == 5


def test_a_new_seed_trains_only_the_new_runs(again: Project) -> None:
    again.edit("tiny.yaml", "initialization: [0]", "initialization: [0, 1]")
    jobs = again.jobs()
    assert (jobs["train"], jobs["measure"]) == (4, 4)
    assert "subset" not in jobs


def test_a_larger_n_trains_only_the_new_run(again: Project) -> None:
    again.edit("tiny.yaml", "n: [6, 12, 24]", "n: [6, 12, 24, 48]")
    jobs = again.jobs()
    assert (jobs["subset"], jobs["train"], jobs["measure"]) == (1, 1, 1)
    trained = {path: path.stat().st_mtime_ns for path in again.results.glob("runs/*/run.json")}
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
    assert not list(again.results.glob("runs/*/snapshots/*"))
    assert again.jobs() == {}
    listed = read_json(again.results / "manifest.json")["files"]
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
    steps = sorted(folder.glob("decomposition/*.json"))
    before = {path: path.read_bytes() for path in (again.results / "table2.csv", *steps)}
    assert again.jobs() == {"discard": 4, "manifest": 1}
    again.make()
    assert not list(again.results.glob("runs/*/snapshots/*"))
    assert again.jobs() == {}
    assert {path: path.read_bytes() for path in before} == before
    listed = read_json(again.results / "manifest.json")["files"]
    assert all((again.root / entry["file"]).is_file() for entry in listed)

    trajectory = (folder / "trajectory.parquet").read_bytes()
    targets = [f"results/{run}/{name}" for name in ("measured.json", "cleaned.json")]
    output = again.run(*targets, "--config", "measure=[decomposition, top-eigenvalues]")
    assert f"{run}: its snapshots were deleted, and top-eigenvalues" in output
    assert (folder / "measurements" / "top-eigenvalues" / "index.json").exists()
    assert (folder / "trajectory.parquet").read_bytes() == trajectory
    assert not (folder / "snapshots").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_other_images_are_shown_and_deleted_ones_are_not_missed(again: Project) -> None:
    figure = "results/figures/figure05.pdf"
    subset = again.results / "data" / "subsets" / "dice-subset0.npz"
    subset.rename(subset.with_suffix(".away"))
    assert again.jobs(figure) == {}
    subset.with_suffix(".away").rename(subset)
    again.edit("tiny.yaml", "images_per_class: 40", "images_per_class: 39")
    assert again.jobs(figure) == {"subset": 1, "figure": 1}


def test_another_style_redraws_and_touches_no_result(again: Project) -> None:
    redrawn = {"figures": 2, "report": 1, "manifest": 1}
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
    made = {"study": 1, "study_claims": 1, "figures": 1}
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


def test_a_clock_that_is_ahead_changes_nothing_and_stops_nothing(again: Project) -> None:
    ahead = time.time() + 7200
    for path in again.results.rglob("*"):
        os.utime(path, (ahead, ahead), follow_symlinks=False)
    assert again.jobs() == {}
    (again.results / "table2.csv").unlink()
    again.make("results/table2.csv")
    assert again.jobs("results/table2.csv") == {}


def test_a_fresh_clone_beside_old_results_reruns_nothing(clone: Project) -> None:
    assert clone.jobs() == {}


def test_results_copied_without_their_times_are_finished(clone: Project) -> None:
    paths = [path for path in clone.results.rglob("*") if path.is_file()]
    shuffled = random.Random(0)
    for path in paths:
        age = shuffled.uniform(0, 1e6)
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    assert clone.jobs() == {}


def test_two_configurations_share_a_store(clone: Project) -> None:
    run = "results/mse/n6/init0-subset0"
    old = (clone.root / run / "trajectory.parquet").resolve()
    known = old.read_bytes()
    clone.edit("tiny.yaml", "width: 8", "width: 7")
    clone.make(f"{run}/manifest.json")
    new = (clone.root / run / "trajectory.parquet").resolve()
    assert new != old and old.read_bytes() == known
    clone.edit("tiny.yaml", "width: 7", "width: 8")
    assert clone.jobs() == {}
    assert (clone.root / run / "trajectory.parquet").resolve() == old


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
    (clone.results / "dice-ce/n24/init0-subset0/manifest.json").resolve().unlink()
    output = clone.run("--config", "finished_only=true", "--dry-run", "--quiet", "rules")
    assert "made of the 3 runs that have finished, of 4" in output
    jobs = clone.jobs("--config", "finished_only=true")
    assert "train" not in jobs and "measure" not in jobs
    assert jobs["collect"] == 1


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
    assert clone.jobs("results/table2.csv") == needed | {"tables": 1}
    assert clone.jobs("results/figures/figure06.pdf") == needed | {"figure": 1}
