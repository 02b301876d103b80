"""The command `eosflow`, on folders made by the library itself; no Snakemake is started."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from problems import small_spec, write_noise_subset
from project import ROOT, wait_until

import eosflow.results
from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.runs import train as training
from eosflow.runs.measure import measure_run
from eosflow.runs.progress import LossProgress, read_line, seconds_of, time_left
from eosflow.runs.spec import RunSpec
from eosflow.storage.damage import CLEANED, DAMAGED
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json
from eosflow.workflow import check, resources, terminal
from eosflow.workflow.clean import discard
from eosflow.workflow.locks import alone_in, at_work, measuring_in
from eosflow.workflow.plan import Plan
from eosflow.workflow.sizes import size_in_words
from eosflow.workflow.stale import Stale
from eosflow.workflow.status import CONFIGURATION, Status, run_status

DONE, CUT, WAITING = small_spec(), small_spec(init_seed=1), small_spec(init_seed=2)
FOLDERS = [str(spec.folder) for spec in (DONE, CUT, WAITING)]


class Stop(Exception):
    """Ends a training job in the middle, as a signal would."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with one run done, one cut off in the middle, and one that is to come."""
    results = tmp_path_factory.mktemp("terminal") / "results"
    (results / "data" / "subsets").mkdir(parents=True)
    subset = write_noise_subset(results / "data" / "subsets" / "dice-subset0.npz", seed=0)
    training.train(DONE, subset, results / FOLDERS[0], threads=1)
    measure_run(results / FOLDERS[0], subset, Decomposition())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossProgress, "update", _stop_at_five)
        with pytest.raises(Stop):
            training.train(CUT, subset, results / FOLDERS[1], threads=1, checkpoint_seconds=0)
    runs = {str(spec.folder): spec.key for spec in (DONE, CUT, WAITING)}
    measured = {folder: ["decomposition"] for folder in runs}
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


def log_of(results: Path, folder: str) -> Path:
    path = results / "logs" / "train" / f"{folder}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def job(results: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that trains the run which was cut off: it holds the run's lock."""
    program = (
        "import sys, time; from pathlib import Path; from eosflow.workflow.locks import alone_in\n"
        "with alone_in(Path(sys.argv[1])): time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(results / FOLDERS[1])]
    process = subprocess.Popen(command, cwd=ROOT)
    wait_until(lambda: at_work(results / FOLDERS[1]) is not None)
    yield process
    process.kill()
    process.wait()


# status


def test_what_a_training_job_logs_is_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LossProgress("dice-ce/n6/init0-subset0", 0.01)
    progress._next_line = -math.inf
    progress.update(0, 2.0, 2.0, None)
    for sharpness in (12.5, None):
        progress._next_line = -math.inf
        progress.update(100, 0.125, 0.5, sharpness)
        seen = read_line(capsys.readouterr().err.splitlines()[-1])
        assert seen is not None
        assert (seen.iteration, seen.loss, seen.sharpness) == (100, 0.125, sharpness)
        assert seconds_of(seen.left) is not None
    assert read_line("error: the disk is full") is None


@pytest.mark.parametrize("seconds", [5, 45, 119, 500, 8000, 300000])
def test_a_time_in_words_is_read_back(seconds: float) -> None:
    assert seconds_of(f"about {time_left(seconds)} left") == pytest.approx(seconds, rel=0.1)
    assert seconds_of(f"1 s to {time_left(seconds)} left") == pytest.approx(seconds, rel=0.1)
    assert seconds_of("time unknown") is None


def test_status_tells_done_from_cut_off_from_waiting(results: Path) -> None:
    done, cut, waiting = Status.of(results).runs
    record = read_json(results / FOLDERS[0] / "run.json")
    assert (done.state, done.stopped) == ("done", "target_loss")
    assert (done.iteration, done.loss) == (record["iterations"], record["final_loss"])
    last = sorted((results / FOLDERS[0] / "decomposition").glob("step*.json"))[-1]
    assert done.sharpness == read_json(last)["sharpness_hessian"]
    assert (cut.state, cut.note) == ("interrupted", "goes on from its checkpoint")
    assert waiting.state == "waiting"
    # Both are as long as the one of their experiment and N that is done.
    assert cut.seconds_left == waiting.seconds_left == done.seconds


def test_a_run_trains_only_as_long_as_its_job_lives(
    results: Path, job: subprocess.Popen[bytes]
) -> None:
    seen = "iteration 40  loss 0.5 (target 0.1)  sharpness 9.5  4.00 iterations/s"
    log_of(results, FOLDERS[1]).write_text(f"mine: {seen}  about 3 min left\n")
    run = Status.of(results).runs[1]
    assert (run.state, run.iteration, run.loss, run.sharpness) == ("training", 40, 0.5, 9.5)
    assert run.seconds_left == 180
    job.kill()
    job.wait()
    run = Status.of(results).runs[1]
    assert (run.state, run.iteration) == ("interrupted", 40)


def test_a_job_that_measures_is_told_from_one_that_trains(tmp_path: Path) -> None:
    with measuring_in(tmp_path / "init0-subset0", "decomposition"):
        assert at_work(tmp_path / "init0-subset0") == "measuring"
        assert at_work(tmp_path / "init0-subset1") is None
    with alone_in(tmp_path / "init0-subset0"):
        assert at_work(tmp_path / "init0-subset0") == "training"
    assert at_work(tmp_path / "init0-subset0") is None


@pytest.mark.parametrize(
    ("log", "state", "note"),
    [
        ("error: the disk is full\n", "failed", "the disk is full"),
        ("Traceback (most recent call last):\n  x\nKeyError: 1\n", "failed", "KeyError: 1"),
        (
            "error: old\nEXP continues from iteration 5\n",
            "interrupted",
            "goes on from its checkpoint",
        ),
    ],
)
def test_a_failed_run_says_why(results: Path, log: str, state: str, note: str) -> None:
    log_of(results, FOLDERS[1]).write_text(log)
    run = run_status(results, FOLDERS[1])
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
    assert record["states"] == {DONE.experiment: {"done": 1, "interrupted": 1, "waiting": 1}}


def test_status_without_a_record_of_the_configuration(results: Path) -> None:
    (results / CONFIGURATION).unlink()
    status = Status.of(results)
    assert sorted(run.state for run in status.runs) == ["done", "interrupted"]
    assert "only runs that have begun are counted" in status.in_words()


def test_a_run_of_another_specification_is_waited_for(results: Path) -> None:
    run = run_status(results, FOLDERS[0], key="0" * 16)
    assert (run.state, run.note) == ("waiting", "a run of another specification is there")


def test_status_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        terminal.main(["status", str(tmp_path / "none")])
    with pytest.raises(UserError, match="holds no runs"):
        terminal.main(["status", str(tmp_path)])


# clean


def every_file(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if "lock" not in p.name}


def test_clean_shows_first_and_then_deletes_snapshots_of_finished_runs_alone(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = results / FOLDERS[0] / "snapshots" / "mine.txt"
    own.write_text("not the workflow's")
    before = every_file(results)
    terminal.main(["clean", str(results), "--keep-tables"])
    assert every_file(results) == before
    assert "Nothing was deleted" in capsys.readouterr().out
    terminal.main(["clean", str(results), "--keep-tables", "--yes"])
    after = every_file(results)
    gone = before.keys() - after.keys()
    listed = read_json(results / FOLDERS[0] / "manifest.json")["snapshots"]
    assert gone == {f"{FOLDERS[0]}/{entry['file']}" for entry in listed}
    assert after.keys() - before.keys() == {f"{FOLDERS[0]}/{CLEANED}"}
    assert all(after[name] == before[name] for name in after.keys() & before.keys())
    assert Status.of(results).runs[0].note == "its snapshots were deleted"


def test_clean_waits_for_what_is_still_to_be_measured(results: Path) -> None:
    configuration = read_json(results / CONFIGURATION)
    for names in configuration["measurements"].values():
        names.append("top-eigenvalues")
    write_json(results / CONFIGURATION, configuration)
    before = every_file(results)
    terminal.main(["clean", str(results), "--keep-tables", "--yes"])
    assert every_file(results) == before


def test_clean_refuses_while_snakemake_or_a_job_works(
    results: Path, job: subprocess.Popen[bytes]
) -> None:
    before = every_file(results)
    with FileLock(results / ".lock"), pytest.raises(UserError, match="A Snakemake is at work"):
        terminal.main(["clean", str(results), "--keep-tables", "--yes"])
    with pytest.raises(UserError, match="A job is at work"):
        terminal.main(["clean", str(results), "--keep-tables", "--yes"])
    assert every_file(results) == before


def test_after_cleaning_only_a_new_measurement_trains_a_run_again(results: Path) -> None:
    def reason(*measurements: Decomposition | TopEigenvalues) -> str | None:
        named = {each.name: each for each in measurements}
        return Stale(str(results), {FOLDERS[0]: DONE}, lambda _: named).run(FOLDERS[0])

    terminal.main(["clean", str(results), "--keep-tables", "--yes"])
    assert reason(Decomposition()) is None
    words = "its snapshots were deleted, and top-eigenvalues is to be measured"
    assert reason(Decomposition(), TopEigenvalues()) == words
    kept = (results / FOLDERS[0] / "trajectory.parquet").read_bytes()
    training.train(DONE, results / "data/subsets/dice-subset0.npz", results / FOLDERS[0], threads=1)
    assert (results / FOLDERS[0] / "trajectory.parquet").read_bytes() == kept
    assert not (results / FOLDERS[0] / CLEANED).exists()
    assert reason(Decomposition(), TopEigenvalues()) is None


# snapshots that the configuration does not keep


def test_discard_deletes_the_snapshots_and_nothing_else_and_can_be_done_again(
    results: Path,
) -> None:
    place = results / FOLDERS[0]
    before = every_file(place)
    listed = [entry["file"] for entry in read_json(place / "manifest.json")["snapshots"]]
    discard(place, ["decomposition"])
    after = every_file(place)
    assert before.keys() - after.keys() == set(listed)
    assert after.keys() - before.keys() == {CLEANED}
    assert all(after[name] == before[name] for name in after.keys() & before.keys())
    assert read_json(place / CLEANED)["snapshots"] == listed
    discard(place, ["decomposition"])
    assert every_file(place) == after


def test_discard_killed_half_way_goes_on(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, unlink = results / FOLDERS[0], Path.unlink
    listed = read_json(place / "manifest.json")["snapshots"]

    def stop_at_second(path: Path, missing_ok: bool = False) -> None:
        if path.name == Path(listed[1]["file"]).name:
            raise Stop
        unlink(path, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Path, "unlink", stop_at_second)
        discard(place, ["decomposition"])
    there = [(place / entry["file"]).exists() for entry in listed]
    assert there == [False, *[True] * (len(listed) - 1)]
    named = {"decomposition": Decomposition(), "top-eigenvalues": TopEigenvalues()}
    run = {FOLDERS[0]: DONE}
    # What is there stands, and a measurement that would miss the first snapshot trains anew.
    assert Stale(str(results), run, lambda _: {"decomposition": Decomposition()}).run(*run) is None
    assert "were deleted" in str(Stale(str(results), run, lambda _: named).run(*run))
    (place / CLEANED).unlink()  # as Snakemake does with what a killed job should have made
    discard(place, ["decomposition"])
    assert not (place / "snapshots").exists()
    assert len(read_json(place / CLEANED)["snapshots"]) == len(listed)


@pytest.mark.parametrize("fault", ["to be measured", "failed half-way", "damaged", "of others"])
def test_discard_deletes_nothing_that_is_still_needed(results: Path, fault: str) -> None:
    place, measurements = results / FOLDERS[0], ["decomposition"]
    index = place / "decomposition" / "index.json"
    if fault == "to be measured":
        measurements.append("top-eigenvalues")
    elif fault == "failed half-way":
        index.unlink()
    elif fault == "of others":
        write_json(index, read_json(index) | {"of": "0" * 16})
    else:
        (place / "decomposition" / "step000020.json").write_text("{}")
    before = every_file(place)
    with pytest.raises(UserError):
        discard(place, measurements)
    after = every_file(place)
    note = f"decomposition/{DAMAGED}"  # the next start of the workflow measures that one again
    assert after.keys() - before.keys() == ({note} if fault == "damaged" else set())
    assert before.items() <= after.items()


def test_a_run_that_was_cut_off_keeps_its_snapshots(results: Path) -> None:
    spec = small_spec(max_iterations=3)
    place, subset = results / str(spec.folder), results / "data/subsets/dice-subset0.npz"
    training.train(spec, subset, place, threads=1)
    measure_run(place, subset, Decomposition())
    before = every_file(place)
    discard(place, ["decomposition"])
    assert before.items() <= every_file(place).items()
    assert read_json(place / CLEANED) == {"snapshots": []}
    assert run_status(results, str(spec.folder)).note == ""
    # So that another measurement needs no training.
    named = {"top-eigenvalues": TopEigenvalues()}
    assert Stale(str(results), {FOLDERS[0]: spec}, lambda _: named).run(FOLDERS[0]) is None


# check


def test_the_disk_is_that_of_the_snapshots(tmp_path: Path) -> None:
    spec: RunSpec = small_spec()
    longest = spec.optimizer.max_step_size
    iterations = 10 + resources.SEEN_FLOW_TIME_PER_EXAMPLE * spec.n / longest
    snapshots = iterations / spec.snapshots.every + len(spec.snapshots.also) + 1
    assert resources.disk(spec) == pytest.approx(8 * spec.parameters * snapshots)


def test_check_says_whether_a_configuration_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    where = f"results_dir={tmp_path / 'results'}"
    options = ["--configfile", "config/demo.yaml", "--config", where, "device=cpu"]
    terminal.main(["check", *options])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["python", "snakemake"]
    assert lines[-1] == "This configuration can be run here."
    monkeypatch.setattr(check.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1})())
    with pytest.raises(UserError, match="cannot be run here"):
        terminal.main(["check", *options])
    assert re.search(r"^missing +disk +\d+ MB .*; 1 bytes are free", capsys.readouterr().out, re.M)


def test_snapshots_that_are_deleted_need_the_disk_of_the_runs_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(check.os, "cpu_count", lambda: 2)
    edge = "{dataset: dice, criterion: cross_entropy, n: [6], study: spectra}"
    values = [f"results_dir={tmp_path}", "studies=[spectra]", "stop={max_iterations: 50}"]
    values.append(f"experiments={{edge: {edge}}}")

    def disk(*more: str) -> tuple[Plan, str]:
        plan = check.plan_of([Path("config/demo.yaml")], [*values, *more])
        return plan, next(f.words for f in check.check(plan) if f.about == "disk")

    plan, words = disk()
    every = [resources.disk(run) for run in plan.runs.values()]
    assert words.startswith(f"{size_in_words(sum(every))} for the snapshots of {len(every)} of")
    plan, words = disk("keep_snapshots=false")
    passing = sorted(resources.disk(run) for run in plan.runs.values() if run.target_loss)
    ending = [resources.disk(run) for run in plan.runs.values() if run.target_loss is None]
    assert len(ending) == 4 < len(passing)
    needed = size_in_words(sum(passing[-2:]) + sum(ending))
    assert words.startswith(f"{needed} for the snapshots of 6 of {len(every)} runs")


def test_check_looks_for_the_package_of_the_vision_transformer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    values = [f"results_dir={tmp_path}", f"mirror={tmp_path}"]
    files = [Path("config/tables.yaml")]

    def found(*more: Path) -> list[tuple[str, str]]:
        findings = check.check(check.plan_of([*files, *more], values))
        return [(f.verdict, f.words) for f in findings if f.about == "transformers"]

    assert found() == []
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    absent = (check.BAD, "not installed: pip install 'eosflow[sst]'")
    assert found(Path("config/tables-vit.yaml")) == [absent]
    # Of SST's encoders the model alone wants it.
    files[:] = [Path("config/sst-random.yaml")]
    assert found() == []
    files[:], values[2:] = [], ["select=[sst-ce]"]
    assert found() == [absent]


def test_check_looks_for_the_archives_in_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "AtrialFibrillation.zip").write_bytes(b"")
    values = ["mirror=" + str(tmp_path), "results_dir=" + str(tmp_path / "results")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        plan: Plan = check.plan_of([], values)
    found = {f.words: f.verdict for f in check.check(plan) if f.about == "data"}
    assert found[f"AtrialFibrillation.zip is in the mirror {tmp_path}"] == check.GOOD
    assert [verdict for words, verdict in found.items() if "cifar-10" in words] == [check.BAD]


def test_check_looks_for_pretrained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    def found(weights: str) -> list[str]:
        network = f"networks={{bert: {{weights: {weights}, revision: null}}}}"
        values = [network, f"results_dir={tmp_path / 'results'}", f"mirror={tmp_path}"]
        plan = check.plan_of([Path("config/tables-bert.yaml")], values)
        return [f.line() for f in check.check(plan) if f.about == "model" and weights in f.words]

    assert found("nobody/no-such-model") == [
        "note    model        nobody/no-such-model is to be fetched from the Hugging Face Hub"
    ]
    folder = tmp_path / "model"
    folder.mkdir()
    for verdict, words in (("missing", "is not"), ("ok", "is")):
        line = f"{verdict:8}model        model.safetensors {words} in the folder {folder}"
        assert found(str(folder)) == [line]
        (folder / "model.safetensors").touch()


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 bytes"), (1234, "1.2 kB"), (999.6e3, "1 MB"), (2.17e12, "2.2 TB")]
)
def test_sizes_in_words(number: float, words: str) -> None:
    assert size_in_words(number) == words


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


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(folder: Path) -> None:
        raise ModuleNotFoundError("No module", name="statsmodels.api")

    archive = types.SimpleNamespace(keep=keep)
    monkeypatch.setattr(eosflow.results, "archive", archive, raising=False)
    with pytest.raises(UserError, match=r"statsmodels is .* pip install 'eosflow\[report\]'"):
        terminal.main(["evidence", "keep", "nowhere"])
