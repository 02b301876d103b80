"""The command `eosflow`, on folders made by the library itself; no Snakemake is started."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from problems import small_spec, write_noise_subset
from project import ROOT, wait_until

import eosflow
from eosflow.measurements.decomposition import Decomposition
from eosflow.runs import train as training
from eosflow.runs.folder import RunFolder
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder, run_folder
from eosflow.runs.progress import LossProgress
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json
from eosflow.storage.locks import alone_in, is_held
from eosflow.workflow import check, resources, terminal
from eosflow.workflow.plan import Plan
from eosflow.workflow.status import CONFIGURATION, Status, run_status

DONE, CUT, WAITING = small_spec(), small_spec(init_seed=1), small_spec(init_seed=2)
FOLDERS = [str(spec.folder) for spec in (DONE, CUT, WAITING)]
HOMES = [functools.partial(run_folder, key=spec.key) for spec in (DONE, CUT, WAITING)]


class Stop(Exception):
    """Ends a training job in the middle, as a signal would."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with one run done, one cut off in the middle, and one that is to come."""
    results = tmp_path_factory.mktemp("terminal") / "results"
    (results / "data" / "subsets").mkdir(parents=True)
    subset = write_noise_subset(results / "data" / "subsets" / "dice-subset0.npz", seed=0)
    training.train(DONE, subset, HOMES[0](results), threads=1)
    measure_run(HOMES[0](results), subset, Decomposition())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossProgress, "update", _stop_at_five)
        with pytest.raises(Stop):
            training.train(CUT, subset, HOMES[1](results), threads=1, checkpoint_seconds=0)
    runs = {str(spec.folder): spec.key for spec in (DONE, CUT, WAITING)}
    measured = {folder: {"decomposition": measured_folder(Decomposition())} for folder in runs}
    write_json(results / CONFIGURATION, {"config": {}, "runs": runs, "measurements": measured})
    return results


def _stop_at_five(self: LossProgress, iteration: int, *_: float | None) -> None:
    if iteration == 5:
        raise Stop


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    import shutil

    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture
def job(results: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that trains the run which was cut off: it holds the run's lock."""
    program = (
        "import sys, time; from pathlib import Path; from eosflow.storage.locks import alone_in\n"
        "with alone_in(Path(sys.argv[1])): time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(HOMES[1](results))]
    process = subprocess.Popen(command, cwd=ROOT)
    wait_until(lambda: is_held(HOMES[1](results)))
    yield process
    process.kill()
    process.wait()


# status


def test_status_tells_done_from_cut_off_from_waiting(results: Path) -> None:
    done, cut, waiting = Status.of(results).runs
    record = read_json(HOMES[0](results) / "run.json")
    assert (done.state, done.stopped) == ("done", "target_loss")
    assert (done.iteration, done.loss) == (record["iterations"], record["final_loss"])
    assert (cut.state, cut.note) == ("interrupted", "continues from its checkpoint")
    assert waiting.state == "waiting"
    # Both are as long as the one of their experiment and N that is done.
    assert cut.seconds_left == waiting.seconds_left == done.seconds


def test_a_run_trains_only_as_long_as_its_job_lives(
    results: Path, job: subprocess.Popen[bytes]
) -> None:
    RunFolder(HOMES[1](results), CUT).save_progress(40, 0.5, 9.5, 180.0)
    run = Status.of(results).runs[1]
    assert (run.state, run.iteration, run.loss, run.sharpness) == ("training", 40, 0.5, 9.5)
    assert run.seconds_left == 180
    job.kill()
    job.wait()
    run = Status.of(results).runs[1]
    assert (run.state, run.iteration) == ("interrupted", 40)


def test_a_job_that_measures_is_told_from_one_that_trains(results: Path) -> None:
    key, home = DONE.key, HOMES[0](results)
    with alone_in(home):
        assert run_status(results, FOLDERS[0], key).state == "measuring"
        assert run_status(results, FOLDERS[2], WAITING.key).state == "waiting"
    (home / "manifest.json").unlink()
    with alone_in(home):
        assert run_status(results, FOLDERS[0], key).state == "training"
    assert not is_held(home)


@pytest.mark.parametrize(
    ("log", "state", "note"),
    [
        ("error: the disk is full\n", "failed", "the disk is full"),
        ("Traceback (most recent call last):\n  x\nKeyError: 1\n", "failed", "KeyError: 1"),
        ("EXP continues from iteration 5\n", "interrupted", "continues from its checkpoint"),
    ],
)
def test_a_failed_run_says_why(results: Path, log: str, state: str, note: str) -> None:
    path = results / "logs" / "train" / f"{FOLDERS[1]}.log"
    path.parent.mkdir(parents=True)
    path.write_text(log)
    run = run_status(results, FOLDERS[1], CUT.key)
    assert (run.state, run.note) == (state, note)


def test_status_in_words_and_as_json(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["status", str(results)])
    words = capsys.readouterr().out
    assert re.search(r"^all +1 +– +– +– +1 +1 +–", words, re.MULTILINE)
    assert f"{FOLDERS[1]}: interrupted" in words
    assert "Snakemake is not at work" in words
    with FileLock(results / ".lock"):
        terminal.main(["status", str(results), "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["working"]
    assert [run["state"] for run in record["runs"]] == ["done", "interrupted", "waiting"]
    (results / CONFIGURATION).unlink()
    with pytest.raises(UserError, match="start the workflow first"):
        terminal.main(["status", str(results)])


# check


def test_check_says_whether_a_configuration_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    where = f"results_dir={tmp_path / 'results'}"
    options = ["--configfile", "config/demo.yaml", "--config", where, "device=cpu"]
    terminal.main(["check", *options])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["torch", "snakemake"]
    assert lines[-1] == "This configuration can be run here."
    monkeypatch.setattr(check.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1})())
    with pytest.raises(UserError, match="cannot be run here"):
        terminal.main(["check", *options])
    assert re.search(r"^missing +disk +[\d.]+MB .*; 1\.00B are free", capsys.readouterr().out, re.M)


def test_snapshots_that_are_deleted_need_the_disk_of_the_runs_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(check.os, "cpu_count", lambda: 2)
    edge = "{dataset: dice, criterion: cross_entropy, n: [6], study: spectra, "
    edge += "measure: [top-eigenvalues, accuracy]}"
    values = [f"results_dir={tmp_path}", "studies=[spectra]", "stop={max_iterations: 50}"]
    values.append(f"experiments={{edge: {edge}}}")

    def disk(*more: str) -> tuple[Plan, str]:
        plan = check.plan_of([Path("config/demo.yaml")], [*values, *more])
        return plan, next(f.words for f in check.check(plan) if f.about == "disk")

    plan, words = disk()
    every = [resources.disk(run) for run in plan.runs.values()]
    assert words.startswith(f"{check._size(sum(every))} for the snapshots of {len(every)} of")
    plan, words = disk("keep_snapshots=false")
    passing = sorted(resources.disk(run) for run in plan.runs.values() if run.target_loss)
    ending = [resources.disk(run) for run in plan.runs.values() if run.target_loss is None]
    assert len(ending) == 4 < len(passing)
    needed = check._size(sum(passing[-2:]) + sum(ending))
    assert words.startswith(f"{needed} for the snapshots of 6 of {len(every)} runs")


def test_check_looks_for_packages_and_for_archives_in_a_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "AtrialFibrillation.zip").write_bytes(b"")
    values = [f"mirror={tmp_path}", f"results_dir={tmp_path / 'results'}"]

    def found(about: str, *more: str, files: tuple[str, ...] = ()) -> dict[str, str]:
        plan = check.plan_of([Path(file) for file in files], [*values, *more])
        return {f.words: f.verdict for f in check.check(plan) if f.about == about}

    cifar = f"cifar-10-binary.tar.gz is not in the mirror {tmp_path}"
    paper = found("data")
    assert paper[f"AtrialFibrillation.zip is in the mirror {tmp_path}"] == check.GOOD
    assert paper[cifar] == check.BAD
    assert set(found("data", "mirror=null").values()) == {check.NOTE}
    # A study with a fixed problem may read one too.
    assert found("data", "select=[]", "studies=[central-flow-cifar10]") == {cifar: check.BAD}
    tables = ("config/tables.yaml", "config/tables-vit.yaml")
    assert found("transformers", files=tables[:1]) == {}
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    absent = {"not installed: pip install 'eosflow[sst]'": check.BAD}
    assert found("transformers", files=tables) == absent


# explain, evidence, and what all share


def test_explain_and_what_cannot_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["explain", "overlap"])
    assert "λ₁(G) / E‖M‖²" in capsys.readouterr().out
    with pytest.raises(UserError, match="Did you mean overlap"):
        terminal.main(["explain", "overlpa"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["statsu"], "invalid choice: 'statsu'.*Did you mean status"),
        (["status", "--jsn"], "unrecognized arguments: --jsn. Did you mean --json"),
        (["evidence", "redrow"], "Did you mean redraw"),
        (["clean"], "required: --keep-tables"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_arguments_are_a_message_with_what_was_meant(
    arguments: list[str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        terminal.main(arguments)


def test_a_wrong_argument_ends_with_status_1_and_the_version_with_0() -> None:
    command = [sys.executable, "-m", "eosflow.workflow.terminal"]
    wrong = subprocess.run([*command, "--versoin"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
    right = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (right.returncode, right.stdout) == (0, f"eosflow {eosflow.__version__}\n")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*_: object) -> None:
        raise ModuleNotFoundError("No module", name="statsmodels.api")

    monkeypatch.setattr(terminal, "_explain", explain)
    with pytest.raises(UserError, match=r"statsmodels is .* pip install 'eosflow\["):
        terminal.main(["explain", "overlap"])
