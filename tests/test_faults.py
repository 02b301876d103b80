"""What may go wrong while the workflow runs, really done to it; the tables come out the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from fuzzing.nursery import Nursery
from harm import flip, truncate
from project import HANGS, Project, made_once, wait_until

pytestmark = pytest.mark.slow

TABLES = ("results/table2.csv",)
# The run that the faults hit: long enough to be hit in the middle.
LONG = "dice-ce/n24/init0-subset0"
SHORT = ("dice-ce/n6/init0-subset0", "dice-ce/n12/init0-subset0")


def tree(root: Path, nursery: Nursery) -> Project:
    """A project with three runs, one of them long."""
    project = Project(root).hurry(nursery)
    project.edit("tiny.yaml", "select: [dice-ce, mse]", "select: [dice-ce]")
    project.edit("tiny.yaml", "every: 20", "every: 50")
    project.edit("tiny.yaml", "max_iterations: 2000}", "max_iterations: 100000}")
    project.edit("tiny.yaml", "max_step_size: 0.2", "max_step_size: 0.02")
    return project


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Project:
    """A project that ran through without any fault."""
    return made_once(
        tmp_path_factory, "undisturbed", lambda root: tree(root, nursery).make(*TABLES)
    )


@pytest.fixture
def project(undisturbed: Project, tmp_path: Path, nursery: Nursery) -> Project:
    """A project whose short runs are done and whose long run is yet to come."""
    project = tree(tmp_path / "tree", nursery)
    project.adopt(undisturbed.results)
    shutil.rmtree(project.home(LONG))
    shutil.rmtree(project.results / "logs")
    forget_tables(project)
    return project


@pytest.fixture
def trained(undisturbed: Project, tmp_path: Path, nursery: Nursery) -> Project:
    """A project with everything trained and decomposed, and no tables."""
    project = tree(tmp_path / "tree", nursery)
    project.adopt(undisturbed.results)
    forget_tables(project)
    return project


def forget_tables(project: Project) -> None:
    for path in project.results.glob("*.*"):
        path.unlink()
    shutil.rmtree(project.results / "provenance")


def same_as(project: Project, undisturbed: Project) -> None:
    """The tables are those of the undisturbed project, to the last bit."""
    ours, theirs = project.results, undisturbed.results
    assert (ours / "table2.csv").read_bytes() == (theirs / "table2.csv").read_bytes()
    frames = [pd.read_parquet(place / "decomposition.parquet") for place in (ours, theirs)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def times(project: Project, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in project.results.glob(pattern)}


def job_of(project: Project, process: subprocess.Popen[str], name: str) -> int:
    """The job of this name that Snakemake has at work."""
    assert project.nursery is not None
    (pid,) = (pid for pid, each in project.nursery.jobs(process.pid) if each == name)
    return pid


@pytest.fixture
def in_the_middle(project: Project) -> Iterator[subprocess.Popen[str]]:
    """Snakemake while the long run trains and has a checkpoint."""
    process = project.start("--cores", "2", *TABLES)
    checkpoint = project.home(LONG) / "checkpoint.safetensors"
    wait_until(checkpoint.exists)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def text_of(log: Path) -> str:
    """What a log says by now; Snakemake removes it before it starts a job."""
    try:
        return log.read_text()
    except FileNotFoundError:
        return ""


def waits_for(project: Project, orphan: int, log: Path) -> None:
    """Start a second Snakemake, without --unlock: its job waits for a stopped orphan, then ends."""
    second = project.start("--cores", "2", *TABLES)
    try:
        wait_until(lambda: "another process works in" in text_of(log))
    finally:
        os.kill(orphan, signal.SIGCONT)
    output, _ = second.communicate(timeout=HANGS)
    assert second.returncode == 0, output


def continued(project: Project) -> bool:
    """Whether the long run went on from a checkpoint beyond its start."""
    log = (project.results / "logs" / "train" / f"{LONG}.log").read_text()
    started = [line.rsplit(" ", 1)[1] for line in log.splitlines() if "continues from" in line]
    return any(int(iteration) > 0 for iteration in started)


@pytest.mark.parametrize(
    ("whom", "number"),
    [("job", signal.SIGKILL), ("everything", signal.SIGKILL), ("everything", signal.SIGINT)],
)
def test_ended_in_training_it_goes_on(
    project: Project,
    in_the_middle: subprocess.Popen[str],
    undisturbed: Project,
    whom: str,
    number: signal.Signals,
) -> None:
    """A terminal sends Ctrl-C, SIGINT, to the whole group of processes."""
    if whom == "job":
        os.kill(job_of(project, in_the_middle, "train"), number)
    else:
        os.killpg(in_the_middle.pid, number)
    output, _ = in_the_middle.communicate(timeout=HANGS)
    assert in_the_middle.returncode != 0, output
    if number == signal.SIGINT:
        assert "Traceback" not in output
        assert f"{LONG} was interrupted and goes on from iteration" in output
    finished = times(project, "dice-ce/*/*/manifest.json")
    project.make(*TABLES)
    assert continued(project)
    same_as(project, undisturbed)
    assert finished.items() <= times(project, "dice-ce/*/*/manifest.json").items()


def test_sigkill_of_snakemake_itself_leaves_its_job_running(
    project: Project, in_the_middle: subprocess.Popen[str], undisturbed: Project
) -> None:
    orphan = job_of(project, in_the_middle, "train")
    in_the_middle.kill()
    in_the_middle.wait()
    os.kill(orphan, signal.SIGSTOP)  # or it might end before the next Snakemake has planned
    finished = times(project, "dice-ce/*/*/manifest.json")
    log = project.results / "logs" / "train" / f"{LONG}.log"
    waits_for(project, orphan, log)
    assert "is finished already" in log.read_text()
    same_as(project, undisturbed)
    assert finished.items() <= times(project, "dice-ce/*/*/manifest.json").items()


def test_a_second_invocation_is_refused(
    project: Project, in_the_middle: subprocess.Popen[str], undisturbed: Project
) -> None:
    training = job_of(project, in_the_middle, "train")
    os.kill(training, signal.SIGSTOP)  # the first must not be done before the second looks
    try:
        second = project.make(*TABLES, status=1)
    finally:
        os.kill(training, signal.SIGCONT)
    assert "is working in results" in second
    assert "Traceback" not in second
    output, _ = in_the_middle.communicate(timeout=HANGS)
    assert in_the_middle.returncode == 0, output
    same_as(project, undisturbed)
    assert "Nothing to be done" in project.make(*TABLES)


def decomposing(project: Project) -> tuple[subprocess.Popen[str], Path]:
    """Snakemake while the long run, whose decomposition was deleted, is decomposed again."""
    (folder,) = project.home(LONG).glob("decomposition-*")
    shutil.rmtree(folder)
    process = project.start("--cores", "2", *TABLES)
    wait_until(lambda: len(list(folder.glob("step*.json"))) >= 2)
    return process, folder


def test_sigkill_of_a_decomposition_job(trained: Project, undisturbed: Project) -> None:
    process, folder = decomposing(trained)
    os.kill(job_of(trained, process, "measure"), signal.SIGKILL)
    output, _ = process.communicate(timeout=HANGS)
    done = {path: path.stat().st_mtime_ns for path in folder.glob("step*.json")}
    assert process.returncode == 1, output
    assert not (folder / "index.json").exists()
    trained.make(*TABLES)
    same_as(trained, undisturbed)
    assert done.items() <= {p: p.stat().st_mtime_ns for p in folder.glob("step*.json")}.items()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root only")
def test_full_disk(project: Project, undisturbed: Project) -> None:
    run = project.home(LONG)
    run.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(run)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this system does not let root mount a tmpfs")
    try:
        output = project.make(*TABLES, status=1)
        assert "the disk is full" in output
        assert "No space left on device" in output
        assert "Traceback" not in output
        assert not list(run.rglob("*.partial*"))
        for path in run.rglob("step*.safetensors"):  # none is half written
            whole = undisturbed.root / path.relative_to(project.root)
            assert path.stat().st_size == whole.stat().st_size
        remount = ["mount", "-o", "remount,size=40m", str(run)]
        subprocess.run(remount, check=True)
        project.make(*TABLES)
        same_as(project, undisturbed)
    finally:
        subprocess.run(["umount", str(run)], check=True)


def test_damaged_files_are_named_and_made_again(trained: Project, undisturbed: Project) -> None:
    """Each damaged file is named, and after a few plain starts all is as it was."""
    first, second, long = map(trained.home, (*SHORT, LONG))
    steps = {home: next(home.glob("decomposition-*")) for home in (first, second, long)}
    shutil.rmtree(steps[second])  # so that its snapshots are read
    damages = {
        first / "trajectory.parquet": flip,
        steps[first] / "step000050.json": flip,
        second / "run.json": truncate,
        second / "snapshots/step000050.safetensors": flip,
        second / "snapshots/step000100.safetensors": truncate,
        long / "manifest.json": flip,
        steps[long] / "step000050.json": truncate,
        steps[first] / "index.json": truncate,
    }
    for file, damage in damages.items():
        damage(file)
    said = ""
    for status in (None, None, 0):
        said += trained.make(*TABLES, status=status)
        said += "".join(path.read_text() for path in (trained.results / "logs").rglob("*.log"))
    assert [file for file in damages if str(file.relative_to(trained.root)) not in said] == []
    assert "Traceback" not in said
    same_as(trained, undisturbed)


def test_one_failing_run_of_many(trained: Project, undisturbed: Project) -> None:
    for run in SHORT:
        shutil.rmtree(trained.home(run))
    blocked = trained.home(SHORT[0]) / "snapshots"
    blocked.parent.mkdir(parents=True)
    blocked.touch()  # a file where a folder should be: the job cannot go on
    trained.make(*TABLES, status=1)
    finished = times(trained, "dice-ce/*/*/decomposition/index.json")
    assert len(finished) == 2
    blocked.unlink()
    trained.make(*TABLES)
    same_as(trained, undisturbed)
    assert finished.items() <= times(trained, "dice-ce/*/*/decomposition/index.json").items()
