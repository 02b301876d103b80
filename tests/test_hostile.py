"""Whatever lies in a results folder, every command, job and input function ends in a sentence.

EOSFLOW_DRAWS=20 does twenty times as much harm as the suite does.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import os
import random
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import faults
from fuzzing.judging import torn
from project import ROOT
from test_store import TINY

from eosflow.results import figures
from eosflow.storage.files import read_json, sha256, write_json
from eosflow.workflow import again, command_line, config, terminal
from eosflow.workflow.inputs import Inputs
from eosflow.workflow.job import Job
from eosflow.workflow.jobs import JOBS
from eosflow.workflow.plan import Plan
from eosflow.workflow.status import CONFIGURATION

DRAWS = int(os.environ.get("EOSFLOW_DRAWS", "1"))
RUN, STUDY, ARCHIVE = "dice-ce/n21/init0-subset0", "sgd-grid", "AtrialFibrillation.zip"
CHANGES: dict[str, Any] = TINY | {
    "studies": [STUDY],
    "measure": ["decomposition", "top-eigenvalues"],
    "datasets": {"dice": {"image_size": 4, "images_per_class": 20}},
    "experiments": {
        "dice-ce": {"n": [21], "target_loss": 0.6},
        "sgd": {
            "study": STUDY,
            "dataset": "dice",
            "criterion": "squared_error",
            "n": [12],
            "optimizer": "gradient-descent",
            "optimizers": {"gradient-descent": {"learning_rate": 0.01}},
            "batch": "shuffled",
            "batches": {"shuffled": {"size": 4}},
            "measure": ["accuracy", "top-eigenvalues"],
            "measurements": {"accuracy": {"held_out": 30}},
            "stop": {"max_iterations": 20},
        },
    },
}
# What jobs are given, by the words of their docstrings.
WORDS = {
    "ARCHIVE": ARCHIVE,
    "DATASET": "dice",
    "WHICH": "subset0",
    "EXP/nN/RUN": RUN,
    "MEASUREMENT": "top-eigenvalues",
    "STUDY": STUDY,
    "FIGURE": "power-law",
}
# What input functions and commands are given, by the names of their arguments.
GIVEN = {
    "column": "overlap",
    "dataset": "dice",
    "folder": RUN,
    "names": "figure05",
    "step": "000020",
    "study": STUDY,
    "view": "decomposition",
    "which": "subset0",
}
WRITERS = [name for name in JOBS if name not in ("fetch", "discard")]  # nothing to write here
PLACES = {"results": "results", "output": "out", "folder": "evidence"}


def plan_of(results: Path) -> Plan:
    mirror = results.with_name("mirror")
    mirror.mkdir(exist_ok=True)
    changes = CHANGES | {"results_dir": str(results), "mirror": str(mirror)}
    return Plan(config.load([ROOT / "config.yaml"], changes))


def do(plan: Plan, name: str, *words: str) -> None:
    """Run a job, with words for what its docstring names if none are given."""
    named = re.match(r"([A-Z][\w/]*(?: [A-Z][\w/]*)*): ", str(JOBS[name].__doc__))
    known = tuple(WORDS[word] for word in named[1].split()) if named else ()
    JOBS[name](Job(plan, words or known, 0, 1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results with two runs and of every kind of file, and the evidence of them."""
    root = tmp_path_factory.mktemp("hostile")
    few = {name: figures.NAMES[name] for name in ("figure05", "power-law", STUDY)}
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "NAMES", few)
        patch.setattr(os, "fsync", lambda _: None)  # which takes long
        plan = plan_of(root / "results")
        plan.write(plan.file)
        plan.write(root / "results" / CONFIGURATION)
        do(plan, "subset", "dice", "held-out")
        do(plan, "subset")
        for folder in plan.runs:
            do(plan, "train", folder)
        for name in WRITERS:  # each after those that it is made of
            do(plan, name)
        signal.signal(signal.SIGTERM, before)
        terminal.main(["evidence", "keep", str(root / "results"), str(root / "evidence")])
        yield root


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, and an archive that is none in the mirror."""
    monkeypatch.chdir(tmp_path)
    plan_of(tmp_path / "results")  # with a mirror
    (tmp_path / "mirror" / ARCHIVE).write_bytes(b"none")
    return renewed(made, tmp_path)


def renewed(made: Path, root: Path) -> Path:
    """Put the copy there again."""
    for name in ("results", "evidence", "out"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("results", "evidence"):
        shutil.copytree(made / name, root / name, symlinks=True, copy_function=os.link)
    return root


# Harm


def numbers(path: Path, chance: random.Random) -> None:
    """A sealed record whose fields are all of another type."""
    try:
        write_json(path, dict.fromkeys(read_json(path), 5))
    except ValueError:
        path.write_text("5")


def texts(path: Path, chance: random.Random) -> None:
    """A sealed record whose fields all lead elsewhere."""
    try:
        write_json(path, dict.fromkeys(read_json(path), "../../elsewhere"))
    except ValueError:
        path.write_text(json.dumps({"file": "../../elsewhere"}))


def deeper(path: Path, chance: random.Random) -> None:
    """A sealed record whose fields hold a list of records of the same."""
    try:
        record = read_json(path)
        write_json(path, {name: [{"file": "x", name: value}] for name, value in record.items()})
    except ValueError:
        path.write_text("")


HARMS = (*faults.HARMS, numbers, numbers, texts, texts, deeper, deeper)


def harmed(root: Path, name: str, chance: random.Random) -> str:
    """Harm a file of the copy, whose bytes are those of the original until then; says what."""
    path, harm = root / name, chance.choice(HARMS)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    harm(path, chance)
    return f"{harm.__name__} of {name}"


def kinds(root: Path) -> list[str]:
    """One file of each kind: they differ in more than numbers and keys."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    names = (path.relative_to(root).as_posix() for path in files if "snapshot" not in path.name)
    found = {re.sub(r"[0-9a-f]{16}|\d+", "*", name): name for name in names}
    return sorted(name for name in found.values() if not Path(name).name.startswith("."))


def ended(main: Callable[[], object]) -> str:
    """What is wrong with how something ends; empty if it does well or says why not."""
    words, status = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(words):
        try:
            command_line.run(main)  # type: ignore[arg-type]
        except SystemExit as end:
            if isinstance(end.code, str):  # which Python itself prints
                words.write(end.code)
            status = 1 if isinstance(end.code, str) else int(end.code or 0)
        except BaseException as error:
            return repr(error)[:200]
    said = words.getvalue()
    right = status == 0 or (status == 1 and re.search(r"^error: .{20,}", said, re.M | re.S))
    return "" if right else f"status {status}: {said[-300:]}"


# Every command


def commands(parser: argparse.ArgumentParser | None = None, *words: str) -> Iterator[list[str]]:
    """Every command of `eosflow` with its arguments, and once more with all that need no value."""
    for action in (parser or terminal.parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, *words, name)
            return
    assert parser is not None
    flags = [a for a in parser._actions if a.nargs == 0 and not isinstance(a, argparse._HelpAction)]
    given = [(GIVEN | PLACES)[a.dest] for a in parser._actions if not a.option_strings]
    for chosen in {tuple(a for a in flags if a.required), tuple(flags)}:
        yield [*words, *given, *(a.option_strings[0] for a in chosen)]


OF_PLACES = sorted(words for words in commands() if {*PLACES.values()} & {*words})


@pytest.mark.parametrize("words", OF_PLACES, ids=" ".join)
def test_every_command_ends_in_a_sentence(words: list[str], made: Path, here: Path) -> None:
    chance, wrong = random.Random(" ".join(words)), []
    names = [name for name in kinds(here) if name.partition("/")[0] in words]
    for _ in range(DRAWS):
        for name in chance.sample(names, 5 if "evidence" in words else 15):
            renewed(made, here)
            what = harmed(here, name, chance)
            if said := ended(lambda: terminal.main(words)):
                wrong.append(f"{what}: {said}")
    assert wrong == []


@pytest.mark.parametrize("words", OF_PLACES, ids=" ".join)
def test_places_that_are_none(words: list[str], here: Path) -> None:
    (here / "file").write_bytes(b"\x00\xff")
    (here / "loop").symlink_to("loop")
    (here / "empty").mkdir()
    wrong = []
    for number, word in enumerate(words):
        if word not in PLACES.values() or words[number - 1 :] == ["evidence", "out"]:
            continue  # which draws in vain
        for place in ("nowhere", "file", "loop", "empty", "a" * 300, "a\nb", "results/run.json/x"):
            given = [*words[:number], place, *words[number + 1 :]]
            if said := ended(lambda given=given: terminal.main(given)):
                wrong.append(f"{' '.join(given)}: {said}")
    assert wrong == []


@pytest.mark.parametrize("option", ["--configfile", "--config"])
def test_configurations_that_are_none(option: str, here: Path) -> None:
    path, wrong = here / "file.yaml", []
    texts = ("", "[" * 50_000, "5", "- 1", "a: {b: [", "\x00\xff", "select: 5", "grid: *x")
    given = []
    for text in (*texts, "&a [*a]"):
        path.write_text(text)
        given.append(str(path) if option == "--configfile" else f"select={text}")
        if said := ended(lambda: terminal.main(["check", option, given[-1]])):
            wrong.append(f"{text[:50]!r}: {said}")
    for place in ("nowhere", ".", "a\nb", "a" * 300):
        if said := ended(lambda place=place: terminal.main(["check", option, place])):
            wrong.append(f"{place[:50]!r}: {said}")
    assert wrong == []


# Every input function

ASKED = {
    name: list(inspect.signature(function).parameters)[1:]
    for name, function in inspect.getmembers(Inputs, inspect.isfunction)
    if name.startswith("before")
}


def asking(plan: Plan, names: dict[str, str]) -> str:
    """Look at results as planning does, and ask all; what does not end in a sentence."""

    def ask() -> None:
        inputs = Inputs(plan, again.look(plan))
        for attribute in ("of_studies", "everything"):
            getattr(inputs, attribute)
        for name, arguments in ASKED.items():
            getattr(inputs, name)(*(names[each] for each in arguments))

    return ended(ask)


def test_planning_of_harmed_results_ends_in_a_sentence(made: Path, here: Path) -> None:
    plan, chance, wrong = plan_of(here / "results"), random.Random(0), []
    for _ in range(DRAWS):
        for name in kinds(here / "results"):
            renewed(made, here)
            what = harmed(here / "results", name, chance)
            if said := asking(plan, GIVEN):
                wrong.append(f"{what}: {said}")
    assert wrong == []


@pytest.mark.parametrize("name", sorted({each for names in ASKED.values() for each in names}))
def test_what_is_not_there_is_refused(name: str, here: Path) -> None:
    """But for what the rules' own patterns keep from being asked."""
    rules = (ROOT / "rules" / "common.smk").read_text()
    patterns = dict(re.findall(r'^    (\w+)=r"(.*)",$', rules, re.MULTILINE))
    patterns["study"] = "|".join(Inputs.every_study)  # as in rules/results.smk
    for value in ("nothing", "999999", "../x", "subset7", "held-out", "transient", ""):
        if name not in patterns or re.fullmatch(patterns[name], value):
            assert asking(plan_of(here / "results"), GIVEN | {name: value}) == "", value


def test_every_input_function_is_a_sentence_to_snakemake() -> None:
    """Snakemake shows what else is raised with its place in the source."""
    for path in (ROOT / "rules").glob("*.smk"):
        for block in re.findall(r"    input:\n(.*?)\n    [a-z]", path.read_text(), re.DOTALL):
            assert block.count("lambda") == block.count("exit_on_user_error("), path


# Every job


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends_in_a_sentence(name: str, made: Path, here: Path) -> None:
    chance, wrong = random.Random(name), []
    for _ in range(2 * DRAWS):
        renewed(made, here)
        names = chance.sample(kinds(here / "results"), 3)
        what = [harmed(here / "results", each, chance) for each in names]
        if said := ended(lambda: do(plan_of(here / "results"), name)):
            wrong.append(f"{name} with {what}: {said}")
    assert wrong == []


# A full disk: the kernel writes no file beyond a limit, as it refuses to on a full one.


def full(main: Callable[[], object], size: int, output: pytest.CaptureFixture[str]) -> bool:
    """Whether something ends with the words for a full disk if no file may be larger than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        command_line.run(main)  # type: ignore[arg-type]
    except SystemExit as end:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "the disk is full" in f"{end.code} {output.readouterr().err}"
        return True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return False


def checksums(root: Path) -> dict[str, str]:
    """Of all tables, arrays and figures."""
    ends = {".parquet", ".csv", ".npz", ".safetensors", ".pdf", ".png"}
    files = (path for path in root.rglob("*") if path.suffix in ends and path.is_file())
    return {path.relative_to(root).as_posix(): sha256(path) for path in files}


# Of those that make nothing anew while it is there: what to take away before.
GONE = {"train": "trajectory.parquet", "measure": "decomposition/index.json"}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_no_half_file(
    name: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = here / "results"
    plan, before = plan_of(results), checksums(results)
    if name in GONE:
        (results / RUN / GONE[name]).resolve().unlink()
    for size in (10, 2000):
        assert full(lambda: do(plan, name), size, capfd) or size > 10
        assert not list(torn(results, ())) and not list(results.rglob("*.partial*"))
    do(plan, name)
    assert before.items() <= checksums(results).items()
