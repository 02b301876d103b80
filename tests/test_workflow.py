"""What the workflow plans after a change, on the results of a tiny configuration."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing.nursery import Nursery
from harm import flip
from project import Project, made_once

from eosflow.storage.provenance import Origin
from eosflow.workflow import begin

pytestmark = pytest.mark.slow

# What is made of the tables alone.
SUMMARY = {"tables": 1, "report": 1}
RUN = "results/mse/n6/init0-subset0"
DICE = "results/dice-ce/n6/init0-subset0"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Project:
    """A project with everything made."""

    def make(root: Path) -> None:
        project, job = Project(root), root / "scripts" / "job.py"
        own = job.read_text()
        project.hurry(nursery).make()
        job.write_text(own)

    return made_once(tmp_path_factory, "finished", make)


@pytest.fixture
def again(finished: Project, tmp_path: Path, nursery: Nursery) -> Project:
    """A copy of the finished project, with Snakemake's notes."""
    root = tmp_path / "tree"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project.at(root).hurry(nursery)


def eosflow(project: Project, *arguments: str) -> None:
    """Run the command in a project."""
    command = [sys.executable, "-m", "eosflow.workflow.terminal", *arguments]
    subprocess.run(command, cwd=project.root, env=project.environment, check=True)


def test_everything_is_made_and_vouched_for_and_then_nothing(finished: Project) -> None:
    results = finished.results
    for name in ("table1.csv", "table2.csv", "table3.csv", "claims.csv", "report.html"):
        assert (results / name).stat().st_size > 0
    records = [Origin.read(path) for path in (results / "provenance").rglob("*.json")]
    known = {entry.file for record in records for entry in record.made}
    for path in (path for path in results.rglob("*") if path.is_file()):
        name = path.relative_to(results)
        note = name.parts[0] in ("logs", "benchmarks", "provenance") or path.name.startswith(".")
        of_run = name.parts[0] in ("dice-ce", "mse", "runs") or "subsets" in name.parts
        assert note or of_run or str(name) in known, name
    assert finished.jobs() == {}
    eosflow(finished, "verify", "results")


def test_snakemakes_own_report_holds_the_tables_and_the_page(again: Project) -> None:
    again.run("--report", "snakemake-report.html")
    page = (again.root / "snakemake-report.html").read_text()
    for name in ("table2.csv", "claims.csv", "report.html"):
        assert name in page


def test_any_snapshot_is_a_target(again: Project) -> None:
    target = again.root / DICE / "decomposition" / "step000020.json"
    before = target.read_bytes()
    target.unlink()
    name = str(target.relative_to(again.root))
    assert again.jobs(name) == {"measure_snapshot": 1}
    again.run(name)
    assert target.read_bytes() == before
    output = again.run("--dry-run", name.replace("20", "301"), status=1)
    assert "no snapshot of iteration 301. It has those of iterations 0, 10" in output
    assert "Traceback" not in output


def test_a_snapshot_of_a_run_that_is_not_trained_is_refused_by_the_job(
    tmp_path: Path, nursery: Nursery
) -> None:
    project = Project(tmp_path / "tree").hurry(nursery)
    target = f"{DICE}/decomposition/step000301.json"
    assert project.jobs(target) == {"subset": 1, "train": 1, "measure_snapshot": 1}
    output = project.run(target, status=1)
    assert "no snapshot of iteration 301. It has those of iterations 0, 10" in output
    assert "Traceback" not in output


def test_another_specification_is_made_beside_the_first(again: Project) -> None:
    """And back again nothing is to be made, for all is still there."""
    old, new = (f"squared_error, n: [6], target_loss: {loss}" for loss in (0.2, 0.3))
    trajectory = again.root / RUN / "trajectory.parquet"
    first = trajectory.resolve()
    known = first.read_bytes()
    again.edit("tiny.yaml", old, new)
    assert again.jobs() == SUMMARY | {"train": 1}
    again.run(f"{RUN}/measured.json")
    assert again.jobs() == SUMMARY
    assert trajectory.resolve() != first and first.read_bytes() == known
    again.edit("tiny.yaml", new, old)
    assert again.jobs() == {}
    assert trajectory.resolve() == first
    assert len(list(again.results.glob("runs/*/manifest.json"))) == 5


@pytest.mark.parametrize(
    ("old", "new", "jobs"),
    [
        ("initialization: [0]", "initialization: [0, 1]", {"train": 4}),
        ("n: [6, 12, 24]", "n: [6, 12, 24, 48]", {"subset": 1, "train": 1}),
        ("n: [6, 12, 24]", "n: [6, 12]", {}),
    ],
)
def test_other_seeds_and_sizes_train_only_the_new_runs(
    again: Project, old: str, new: str, jobs: dict[str, int]
) -> None:
    again.edit("tiny.yaml", old, new)
    assert again.jobs() == SUMMARY | jobs


def test_runs_in_training_are_told_and_the_others_are_left_alone(
    again: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "STATUS_SECONDS", 0.1)  # or the run is done before it is looked at
    again.edit("tiny.yaml", "n: [6, 12, 24]", "n: [6, 12, 24, 48]")
    trained = {path: path.stat().st_mtime_ns for path in again.results.glob("runs/*/run.json")}
    output = again.make("results/table2.csv")
    assert "eosflow: 4 of 5 runs are trained, 1 in training" in output
    assert all(path.stat().st_mtime_ns == time for path, time in trained.items())


def test_without_snapshots_all_but_a_new_measurement_can_be_made(again: Project) -> None:
    """Deleted by the command or by the workflow; a new measurement trains the runs again."""
    steps = (again.root / RUN).glob("decomposition/*.json")
    table, *_ = before = [again.results / "table2.csv", *steps]
    contents = [path.read_bytes() for path in before]
    trajectory = (again.root / RUN / "trajectory.parquet").read_bytes()
    eosflow(again, "clean", "results", "--keep-tables", "--yes")
    assert not list(again.results.glob("runs/*/snapshots/*"))
    assert again.jobs() == {}
    table.unlink()
    again.make("results/table2.csv")
    assert [path.read_bytes() for path in before] == contents

    more = ("--config", "measure=[decomposition, top-eigenvalues]", "keep_snapshots=false")
    assert again.jobs(*more) == SUMMARY | {"train": 4, "collect": 1, "discard": 4}
    targets = [f"{RUN}/{name}" for name in ("measured.json", "cleaned.json")]
    output = again.run(*targets, *more)
    assert "mse/n6/init0-subset0: its snapshots were deleted, and top-eigenvalues" in output
    assert (again.root / RUN / "measurements" / "top-eigenvalues" / "index.json").exists()
    assert (again.root / RUN / "trajectory.parquet").read_bytes() == trajectory
    assert not (again.root / RUN / "snapshots").exists()
    assert [path.read_bytes() for path in before] == contents


def test_a_measurement_more_is_taken_by_one_job_and_nothing_anew(again: Project) -> None:
    def records() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in again.home(name).rglob("step*.json")}

    name, more = RUN.removeprefix("results/"), "measure=[decomposition, top-eigenvalues, trace]"
    before, target = records(), (f"{RUN}/measured.json", "--config", more)
    assert again.jobs(*target) == {"measure": 1}
    again.run(*target)
    assert before.items() <= records().items()
    assert len(records()) == 3 * len(before)
    assert again.jobs(*target) == {}


def test_other_images_are_shown_and_deleted_ones_are_not_missed(again: Project) -> None:
    figure = "results/figures/figure05.pdf"
    subset = again.results / "data" / "subsets" / "dice-subset0.npz"
    subset.rename(subset.with_suffix(".away"))
    assert again.jobs(figure) == {}
    subset.with_suffix(".away").rename(subset)
    again.edit("tiny.yaml", "images_per_class: 40", "images_per_class: 39")
    assert again.jobs(figure) == {"subset": 1, "figure": 1}


def test_a_figure_that_is_gone_is_drawn_again(again: Project) -> None:
    figure = again.results / "figures" / "figure06.pdf"
    before = figure.read_bytes()
    figure.unlink()
    assert again.jobs("results/figures/figure06.pdf") == {"figure": 1}
    assert again.jobs() == {"report": 1}
    again.make()
    assert figure.read_bytes() == before
    assert again.jobs() == {}


CLAIMS = "studies/edge-of-stability/claims"


@pytest.mark.parametrize(
    ("file", "harm", "jobs"),
    [
        ("data/subsets/dice-subset0.json", flip, {}),  # of finished runs, which need it no more
        ("data/dice-parameters.parquet", flip, {"report": 1, "dice_parameters": 1}),
        ("decomposition.parquet", Path.unlink, SUMMARY),
        ("table2.csv", flip, SUMMARY),
        ("provenance/tables.json", Path.unlink, SUMMARY),
        (f"{CLAIMS}.csv", Path.unlink, {"report": 1, "study_claims": 1}),
        (f"provenance/{CLAIMS}.json", flip, {"report": 1, "study_claims": 1}),
        ("figures/figure06.png", flip, {"report": 1}),
        ("report.html", flip, {"report": 1}),
    ],
)
def test_what_is_damaged_or_gone_is_made_again(
    again: Project, file: str, harm: Callable[[Path], None], jobs: dict[str, int]
) -> None:
    harm(again.results / file)
    assert again.jobs() == jobs


def test_a_table_that_was_edited_is_made_again_as_it_was(again: Project) -> None:
    table = again.results / "table2.csv"
    content = table.read_bytes()
    table.write_bytes(content.replace(b"dice", b"mice", 1))
    again.run("results/table2.csv")  # the profile says how many cores
    assert table.read_bytes() == content


@pytest.mark.parametrize(
    ("version", "jobs"),
    [
        ("training", SUMMARY | {"train": 4}),
        ("decomposition", SUMMARY | {"measure": 4}),
        ("figures", {"report": 1}),
        ("study", {"study": 1, "study_claims": 1, "report": 1}),
    ],
)
def test_a_raised_version_remakes_from_there_on(
    again: Project, version: str, jobs: dict[str, int]
) -> None:
    assert again.jobs(**{version: 1000}) == jobs


def test_another_axis_redraws_and_touches_no_result(finished: Project) -> None:
    assert finished.jobs("--config", "figures={against: flow_time}") == {"report": 1}


def ahead(project: Project) -> None:
    for path in project.results.rglob("*"):
        os.utime(path, (time.time() + 7200,) * 2, follow_symlinks=False)


def shuffled(project: Project) -> None:
    chance = random.Random(0)
    for path in (path for path in project.results.rglob("*") if path.is_file()):
        age = chance.uniform(0, 1e6)
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))


@pytest.mark.parametrize("change", [ahead, shuffled])
def test_a_copy_in_a_fresh_clone_is_finished_whatever_its_times_are(
    finished: Project, tmp_path: Path, change: Callable[[Project], None], nursery: Nursery
) -> None:
    clone = Project(tmp_path / "clone").hurry(nursery)
    clone.adopt(finished.results)
    change(clone)
    assert clone.jobs() == {}
    if change is ahead:  # of which Snakemake by itself would complain
        (clone.results / "table2.csv").unlink()
        clone.make("results/table2.csv")
        assert clone.jobs("results/table2.csv") == {}


def test_values_from_the_command_line_are_checked_and_used(again: Project) -> None:
    value = "optimizers={exponential-euler: {max_step_size: 1e-1}}"
    assert again.jobs(f"{DICE}/manifest.json", "--config", value) == {"train": 1}
    output = again.run("--dry-run", "--config", value.replace("_size", ""), status=1)
    place = "optimizers.exponential-euler"
    assert f"{place}.max_step: there is no such key; allowed here: max_step_size" in output
    assert "Did you mean max_step_size?" in output
    assert "Traceback" not in output
    assert "File " not in output


def test_a_named_table_is_never_up_to_date_on_other_runs(again: Project) -> None:
    """Not even if a killed job has left nothing that Snakemake could compare it with."""
    again.edit("tiny.yaml", "n: [6, 12, 24]", "n: [6, 12, 24, 48]")
    for file in ("decomposition.parquet", "runs.parquet", "provenance/tables.json"):
        (again.results / file).unlink()
    needed = {"subset": 1, "train": 1, "tables": 1}
    assert again.jobs("results/table2.csv") == needed
    assert again.jobs("results/figures/figure06.pdf") == needed | {"figure": 1}
