"""What lies below its key, what planning sees of it, and what commands may take away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harm import flip, truncate
from problems import small_spec, write_noise_subset
from project import ROOT

from eosflow.runs.names import measured_folder
from eosflow.runs.spec import RunSpec
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, write_json
from eosflow.storage.settings import record
from eosflow.studies import STUDIES
from eosflow.workflow import again, clean, config, terminal, views
from eosflow.workflow.data import Data
from eosflow.workflow.inputs import Inputs
from eosflow.workflow.job import Job
from eosflow.workflow.plan import Plan
from eosflow.workflow.status import CONFIGURATION

RUN = str(small_spec().folder)
TINY: dict[str, Any] = {
    "select": ["dice-ce"],
    "studies": [],
    "device": "cpu",
    "seeds": {"initialization": [0], "subset": [0]},
    "networks": {"mlp": {"width": 8, "depth": 4}},
    "optimizers": {
        "exponential-euler": {
            "max_step_size": 0.2,
            "eigen_tolerance": 0.01,
            "eigen_dtype": "float32",
        }
    },
    "stop": {"max_iterations": 400},
    "snapshots": {"iterations": {"every": 20}},
    "datasets": {"dice": {"image_size": 4}},
    "experiments": {"dice-ce": {"n": [21], "target_loss": 0.6}},
}


def plan_of(results: Path, **changes: Any) -> Plan:
    """The plan of one small run, measured by the decomposition and what `changes` say."""
    return Plan(config.load([ROOT / "config.yaml"], TINY | changes | {"results_dir": str(results)}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with that run, trained and measured."""
    from eosflow.runs.measure import measure_run
    from eosflow.runs.train import train

    results = tmp_path_factory.mktemp("store") / "results"
    plan = plan_of(results)
    subset = results / "data" / "subsets" / "dice-subset0.npz"
    subset.parent.mkdir(parents=True)
    write_noise_subset(subset, seed=0)
    spec = plan.runs[RUN]
    train(spec, subset, plan.home(RUN), threads=1)
    measure_run(plan.home(RUN), subset, *plan.measured_of(RUN).values())
    plan.write(results / CONFIGURATION)
    return results


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(made, tmp_path / "results", symlinks=True))


def whole(results: Path, **changes: Any) -> tuple[bool, bool]:
    """Whether planning finds the run trained, and measured."""
    found = again.look(plan_of(results, **changes))
    return RUN in found.trained, RUN in found.measured


def view(results: Path) -> Path:
    return results / RUN


# Views


def test_people_find_a_run_by_its_name(results: Path) -> None:
    assert whole(results) == (True, True)
    home = plan_of(results).home(RUN)
    for name in ("run.json", "manifest.json", "trajectory.parquet", "snapshots"):
        link = view(results) / name
        assert link.is_symlink() and not link.readlink().is_absolute()
        assert link.resolve() == (home / name).resolve()
    step = view(results) / "decomposition" / "step000000.json"
    assert read_json(step)["iteration"] == 0
    moved = results.rename(results.with_name("elsewhere"))
    assert read_json(moved / RUN / "decomposition" / "step000000.json")["iteration"] == 0


def test_what_lies_in_the_way_of_a_link_is_kept(results: Path) -> None:
    view(results).mkdir(parents=True)
    (view(results) / "run.json").write_text("mine")
    (view(results) / "decomposition").mkdir()  # as Snakemake makes it for a file below
    assert whole(results) == (True, True)
    assert [p.read_text() for p in view(results).glob("run.json.*")] == ["mine"]
    assert (view(results) / "decomposition").is_symlink()


def test_views_that_cannot_be_made_are_a_message(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(views.Path, "symlink_to", refuse)
    with pytest.raises(UserError, match=r"Permission denied.*results_dir"):
        whole(results)


# What planning sees


STEP = f"{measured_folder(plan_of(Path('results')).measurements['decomposition'])}/step000020.json"
INDEX = STEP.replace("step000020", "index")


@pytest.mark.parametrize("harm", ["delete", "cut off"])
@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("run.json", False),
        ("manifest.json", False),
        ("trajectory.parquet", False),
        ("snapshots/step000020.safetensors", False),
        (INDEX, True),
        (STEP, True),
    ],
)
def test_what_is_gone_or_cut_off_is_seen(
    results: Path, name: str, trained: bool, harm: str
) -> None:
    path = plan_of(results).home(RUN) / name
    if harm == "delete":
        path.unlink()
    else:
        truncate(path)
    before = sorted(results.rglob("*"))
    assert whole(results) == (trained, False)
    there = set(results.rglob("*"))
    assert {path for path in before if path not in there} == set()  # a look takes nothing away
    assert (view(results) / "manifest.json").exists() == trained
    assert not (view(results) / "measured.json").exists()


def test_a_subset_is_drawn_again_for_other_settings_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    data = Data(plan)
    wanted = data.settings("dice")
    stored = {name: value for name, value in record(wanted).items() if name != "name"}
    path = Path(data.path("dice", 0))
    path.parent.mkdir(parents=True)
    path.touch()

    def reason(**changes: Any) -> str | None:
        from eosflow.datasets.base import SUBSET_VERSION

        known = {"settings": stored, "size": 7500, "subset_version": SUBSET_VERSION}
        known |= {"dataset": "dice", "subset_seed": 0}
        write_json(path.with_suffix(".json"), known | changes)
        return Data(plan).why_not("dice", 0)

    assert reason() is None
    for changes, word in (
        ({"settings": {**stored, "point": 3}}, "settings"),
        ({"settings": None}, "damaged"),
        ({"size": 20}, "rows"),
        ({"subset_version": 0}, "version"),
        ({"subset_seed": 1}, "seed"),
    ):
        assert word in str(reason(**changes))
    assert str(path) in again.look(plan).forced


@pytest.mark.parametrize("study", [name for name, each in STUDIES.items() if each.archives])
def test_a_study_waits_for_its_archives_until_its_table_stands(study: str, tmp_path: Path) -> None:
    plan, state = plan_of(tmp_path, studies=[study]), again.State()
    archives = [f"{tmp_path}/data/archives/{name}" for name in STUDIES[study].archives]
    assert Inputs(plan, state).before_study(study) == archives
    with (
        pytest.raises(UserError, match=r"No such file.*Start the workflow again"),
        Job(plan, (study,), 0, 1).reading(STUDIES[study].archives),
    ):
        pass
    table = tmp_path / STUDIES[study].data
    table.parent.mkdir(parents=True)
    table.touch()
    assert Inputs(plan, state).before_study(study) == []
    state.forced.add(str(table))
    assert Inputs(plan, state).before_study(study) == archives


# Deleting snapshots


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    kept = (path for path in files if not path.name.startswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def run_clean(results: Path) -> None:
    terminal.main(["clean", str(results), "--keep-tables", "--yes"])


def test_clean_takes_the_snapshots_alone_and_only_a_new_measurement_misses_them(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = plan_of(results).home(RUN)
    (home / "snapshots" / "mine.txt").write_text("not the workflow's")
    before = files_of(results)
    terminal.main(["clean", str(results), "--keep-tables"])
    assert files_of(results) == before and "Nothing was deleted" in capsys.readouterr().out
    run_clean(results)
    after = files_of(results)
    listed = read_json(home / "manifest.json")["snapshots"]
    place = home.relative_to(results).as_posix()
    assert before.keys() - after.keys() == {f"{place}/{entry['file']}" for entry in listed}
    assert after.keys() - before.keys() == {f"{place}/cleaned.json"}
    assert whole(results) == (True, True)
    assert whole(results, measure=["decomposition", "top-eigenvalues"]) == (False, False)
    # A record that is damaged later needs its snapshot too.
    (home / STEP).unlink()
    assert whole(results) == (False, False)


@pytest.mark.parametrize(
    "harm",
    [
        lambda home: (home / STEP).unlink(),
        lambda home: flip(home / STEP),
        lambda home: (home / INDEX).unlink(),
        lambda home: write_json(home / INDEX, read_json(home / INDEX) | {"of": "0" * 16}),
        lambda home: (home / "trajectory.parquet").unlink(),
        lambda home: flip(home / "trajectory.parquet"),
        lambda home: flip(home / "run.json"),
    ],
)
def test_nothing_is_deleted_of_a_run_that_is_not_whole(
    results: Path, harm: Callable[[Path], None]
) -> None:
    home = plan_of(results).home(RUN)
    harm(home)
    before = files_of(results)
    run_clean(results)
    assert files_of(results) == before
    with pytest.raises(UserError, match="Nothing was deleted"):
        clean.discard(home, [Path(STEP).parent.name])
    assert files_of(results) == before


@pytest.mark.parametrize("harm", ["damaged", "missing", "without measurements"])
def test_without_knowing_what_is_to_be_measured_nothing_is_deleted(
    results: Path, harm: str
) -> None:
    path = results / CONFIGURATION
    if harm == "damaged":
        flip(path)
    elif harm == "missing":
        path.unlink()
    else:
        write_json(path, {name: each for name, each in read_json(path).items() if name == "runs"})
    before = files_of(results)
    with pytest.raises(UserError, match="Nothing was deleted"):
        run_clean(results)
    assert files_of(results) == before


def test_what_another_configuration_wants_to_measure_keeps_snapshots(results: Path) -> None:
    other = plan_of(results, measure=["decomposition", "top-eigenvalues"])
    other.write(other.file)
    before = files_of(results)
    run_clean(results)
    assert files_of(results) == before


def test_a_run_that_no_configuration_names_is_named_and_kept(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_of(results, networks={"mlp": {"width": 7, "depth": 4}}).write(results / CONFIGURATION)
    before = files_of(results)
    run_clean(results)
    assert files_of(results) == before
    assert f"runs/{plan_of(results).runs[RUN].key}" in capsys.readouterr().out


def test_a_run_that_was_cut_off_keeps_its_snapshots(results: Path) -> None:
    from eosflow.runs.measure import measure_run
    from eosflow.runs.train import train

    spec: RunSpec = small_spec(max_iterations=3)
    home, subset = results / "runs" / spec.key, results / "data/subsets/dice-subset0.npz"
    train(spec, subset, home, threads=1)
    measure_run(home, subset, *plan_of(results).measurements.values())
    before = files_of(home)
    clean.discard(home, [Path(STEP).parent.name])
    assert before.items() <= files_of(home).items()
    assert read_json(home / "cleaned.json") == {"snapshots": []}


# verify


def test_verify_finds_what_planning_does_not(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(results / "data")  # the subset of the fixture has no record
    terminal.main(["verify", str(results)])
    home = plan_of(results).home(RUN)
    harmed = ["snapshots/step000020.safetensors", "trajectory.parquet", STEP]
    for name in harmed:
        flip(home / name)
    assert whole(results) == (True, True)
    before = files_of(results)
    with pytest.raises(UserError, match="3 files"):
        terminal.main(["verify", str(results)])
    said = capsys.readouterr().out
    assert all(str(home / name) in said for name in harmed)
    assert files_of(results) == before
