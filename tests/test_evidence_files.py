"""What is kept of a results folder is enough to make all of it again, byte by byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from harm import flip

from eosflow.datasets import dice
from eosflow.datasets.base import Resources
from eosflow.datasets.subsets import write_subset
from eosflow.results import (
    archive,
    collect,
    evidence,
    figures,
    report,
    run_summaries,
    sessions,
    tables,
)
from eosflow.results.archive import keep
from eosflow.results.evidence import MANIFEST
from eosflow.results.figures import drawing
from eosflow.results.redrawing import redraw
from eosflow.storage import provenance
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256, write_json

DICE = dice.Dice(image_size=12, images_per_class=100)
DOCS = Path(__file__).parent.parent / "docs"
STUDY = "studies/work-precision/table.csv"
# A figure of an experiment and one of a study's table; the Dice images take seconds to draw.
SOME = ("figure19", "work-precision")
# One of each source; the frames are compared whole.
SHOWN = ("figure05", "power-law", *SOME)


@pytest.fixture(scope="module", autouse=True)
def described() -> Iterator[None]:
    """Runs made of formulas have no specification that could be read."""
    with synthetic.described():
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder as the workflow leaves it, of six runs made of formulas."""
    folder = tmp_path_factory.mktemp("workflow") / "results"
    names = []
    for number, n in enumerate((468, 937, 1875)):
        for init in (0, 1):
            noise = (-0.1, 0.07)[init] * (1 + number) / 3
            stopped = "max_iterations" if n == 1875 and init else "target_loss"
            rows, row = synthetic.run("dice-ce", n, init, noise=noise, stopped=stopped)
            names.append(f"dice-ce/n{n}/init{init}-subset0")
            synthetic.write_run_folder(folder / names[-1], rows, row)
    decomposition, runs = collect.collect([folder / name for name in names], "decomposition")
    tables.write_parquet(decomposition, folder / "decomposition.parquet")
    tables.write_parquet(runs, folder / "runs.parquet")
    dice.write_parameters(DICE, folder / "data" / "dice-parameters.parquet")
    subset = folder / "data" / "subsets" / "dice-subset0.npz"
    subset.parent.mkdir()
    write_subset("dice", DICE, 0, 250, Resources(None, folder), subset)
    parameters = pd.read_parquet(folder / "data" / "dice-parameters.parquet")
    tables.write_all(folder, decomposition, runs)
    tables.write_csv(tables.table3(parameters), folder / "table3.csv")
    (folder / STUDY).parent.mkdir(parents=True)
    shutil.copy(DOCS / "reproduction" / "flow" / STUDY, folder / STUDY)
    origins = {
        "collect": ["decomposition.parquet", "runs.parquet"],
        "dice-parameters": ["data/dice-parameters.parquet"],
        "studies/work-precision/table": [STUDY],
        **{name: [f"{name}.csv"] for name in report.TABLES},
    }
    records = [read_json(folder / name / "run.json") for name in names]
    for name, files in origins.items():
        record = f"provenance/{name}.json"
        provenance.seal(folder, record, files, runs=sessions.of_runs(records))
    return folder


@pytest.fixture(scope="module")
def kept(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "kept"
    keep(folder, results)
    return folder


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    """The kept evidence, to be changed."""
    shutil.copytree(kept, tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def leave() -> Iterator[Callable[[Iterable[str]], None]]:
    """Leave only some in the list of figures, to save time; its order matters to other tests."""
    everything = dict(figures.NAMES)

    def only(names: Iterable[str]) -> None:
        for name in everything.keys() - set(names):
            del figures.NAMES[name]

    yield only
    figures.NAMES.clear()
    figures.NAMES.update(everything)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_redrawn_is_what_the_workflow_makes(
    results: Path, kept: Path, tmp_path: Path, leave: Callable[[Iterable[str]], None]
) -> None:
    leave(SHOWN)
    redraw(kept, tmp_path / "out")
    redrawn = contents(tmp_path / "out")
    for name in report.TABLES:
        assert redrawn[f"{name}.csv"] == (results / f"{name}.csv").read_bytes()
    assert redrawn[STUDY] == (results / STUDY).read_bytes()

    decomposition, runs = (
        pd.read_parquet(results / f"{name}.parquet") for name in ("decomposition", "runs")
    )
    data = {"dice": results / "data" / "subsets" / "dice-subset0.npz", STUDY: results / STUDY}
    for name in SHOWN:
        figure = drawing.draw(name, decomposition, runs, data.get(figures.NAMES[name].data))
        drawn = [tmp_path / "drawn" / f"{name}{end}" for end in (".pdf", ".png")]
        drawing.save(figure, *drawn)
        for path in drawn:
            assert redrawn[f"figures/{path.name}"] == path.read_bytes(), path.name
    page = redrawn["report.html"].decode()
    assert all(f'href="figures/{name}.png"' in page for name in SHOWN)


def test_kept_frames_hold_every_number_of_the_runs(results: Path, kept: Path) -> None:
    for name in ("decomposition", "runs"):
        first, second = (pd.read_parquet(folder / f"{name}.parquet") for folder in (results, kept))
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    runs = pd.read_parquet(kept / "runs.parquet").set_index(run_summaries.IDENTITY).sort_index()
    steps = pd.read_parquet(kept / "trajectories.parquet")
    later = steps[steps["iteration"] >= run_summaries.TRANSIENT]
    of_run, after = steps.groupby(run_summaries.IDENTITY), later.groupby(run_summaries.IDENTITY)
    assert (of_run.size() == runs["iterations"]).all() and len(runs) == 6
    assert (of_run["residual"].max() == runs["max_residual"]).all()
    assert (of_run["rejected_steps"].sum() == runs["rejected_steps"]).all()
    assert (after["eigenvalue_1"].max() == runs["max_sharpness"]).all()
    events = after["negative_dominant"].sum()
    assert (events == runs["negative_dominant_after_transient"]).all()


def test_the_record_says_which_files_of_which_runs_and_programs(kept: Path) -> None:
    record = read_json(kept / MANIFEST)
    assert {entry["file"] for entry in record["files"]} == set(contents(kept)) - {MANIFEST}
    assert record["runs"]["runs"] == 6 and record["runs"]["device"] == ["cpu"]
    assert record["made"]["collect"]["versions"]["commit"] == provenance.commit()


def test_courses_of_optimizers_without_eigenpairs_are_kept(results: Path, tmp_path: Path) -> None:
    source, folder = tmp_path / "results", tmp_path / "kept"
    gradient_descent = synthetic.run("iris-gd", 30)
    synthetic.write_run_folder(
        source / "iris-gd/n30/init0-subset0", *gradient_descent, eigenpairs=False
    )
    keep(folder, results, source)
    steps = pd.read_parquet(folder / "trajectories.parquet").groupby("experiment").count()
    assert steps.loc["iris-gd", "loss"] == gradient_descent[1]["iterations"]
    assert (steps.loc["iris-gd", ["eigenvalue_1", "converged", "negative_dominant"]] == 0).all()
    assert steps.loc["dice-ce", "converged"] == steps.loc["dice-ce", "loss"]


@pytest.mark.parametrize("name", ["runs.parquet", "claims.csv", "dice-examples.npz", STUDY])
def test_a_flipped_byte_is_refused_by_name(copy: Path, tmp_path: Path, name: str) -> None:
    for spoil, why in ((flip, "damaged"), (Path.unlink, "missing")):
        spoil(copy / name)
        with pytest.raises(UserError, match=f"{name} is {why}"):
            redraw(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_left_alone(results: Path, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "runs.parquet").write_text("mine too")
    before = contents(tmp_path)
    for command in (lambda: keep(tmp_path, results), lambda: redraw(kept, tmp_path)):
        with pytest.raises(UserError, match=r"holds other files, such as notes\.txt"):
            command()
    assert contents(tmp_path) == before
    for command in (lambda: keep(results, results), lambda: redraw(kept, kept)):
        with pytest.raises(UserError, match="holds other files"):
            command()


def resealed(folder: Path, *added: dict[str, object]) -> None:
    """Checksums of what is there, and further entries, as whoever sends a folder may write them."""
    record = read_json(folder / MANIFEST)
    for entry in record["files"]:
        path = folder / entry["file"]
        entry |= {"sha256": sha256(path), "bytes": path.stat().st_size}
    write_json(folder / MANIFEST, {**record, "files": [*record["files"], *added]})


@pytest.mark.parametrize(
    ("frame", "change", "why"),
    [
        *(
            ("runs", {"experiment": name}, "not the name of an exp")
            for name in ("../../../home/mine", "/mine", "..", "a/b", "", "a\n", "-a")
        ),
        *((frame, columns[-1], columns[-1]) for frame, columns in evidence.COLUMNS.items()),
    ],
)
def test_a_crafted_frame_is_damaged_and_nothing_is_written(
    copy: Path, tmp_path: Path, frame: str, change: str | dict[str, str], why: str
) -> None:
    """No name leads out of the output, and no column that is needed is missing."""
    rows = pd.read_parquet(copy / f"{frame}.parquet")
    changed = rows.drop(columns=change) if isinstance(change, str) else rows.assign(**change)
    changed.to_parquet(copy / f"{frame}.parquet")
    resealed(copy)
    before = contents(tmp_path)
    uses = [lambda: keep(copy), lambda: redraw(copy, tmp_path / "deep" / "output")]
    for use in uses[: 1 if frame == "trajectories" else 2]:  # which nothing is drawn of
        with pytest.raises(UserError, match=rf"{frame}\.parquet is damaged: .*{why}"):
            use()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("file", ["../../secret.txt", "/etc/passwd", 5, None, ["a"]])
def test_a_list_of_kept_files_names_none_outside(copy: Path, tmp_path: Path, file: object) -> None:
    resealed(copy, {"file": file, "sha256": "0" * 64, "bytes": 0})
    with pytest.raises(UserError, match=r"evidence\.json is damaged"):
        redraw(copy, tmp_path / "output")


def test_a_kept_frame_that_unpacks_to_too_much_is_not_read(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="unpacks to more than 1000 bytes"):
        redraw(kept, tmp_path / "output")


def test_a_redraw_names_tables_that_differ_and_replaces_an_earlier_one(
    results: Path, copy: Path, tmp_path: Path, leave: Callable[[Iterable[str]], None]
) -> None:
    """What is not kept is not shown."""
    leave(SOME)
    source, folder, output = (tmp_path / name for name in ("results", "without", "out"))
    table = copy / "table2.csv"
    table.write_text(table.read_text().replace("dice", "mice", 1))
    resealed(copy)
    with pytest.raises(UserError, match=r"All is drawn, but table2\.csv in .* differ from"):
        redraw(copy, output)
    full = contents(output)
    shutil.copytree(results, source)
    (source / STUDY).unlink()
    (source / "data" / "subsets" / "dice-subset0.npz").unlink()
    keep(folder, source)
    assert not {STUDY, "dice-examples.npz", "dice-examples.json"} & set(contents(folder))
    redraw(folder, output)
    less = contents(output)
    drawn = {f"figures/work-precision{end}" for end in (".pdf", ".png")}
    assert full.keys() - less.keys() == {STUDY, *drawn}
    assert {name for name in less if less[name] != full[name]} == {"report.html"}
    page = less["report.html"].decode()
    assert "figure19.png" in page and STUDY not in page


def test_tables_of_an_earlier_program_are_made_anew(
    kept: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "alignment.csv").unlink()  # which version 0.1 did not make
    (copy / "table2.csv").write_text("of another program\n")
    record = read_json(copy / MANIFEST)
    files = [entry for entry in record["files"] if entry["file"] != "alignment.csv"]
    write_json(copy / MANIFEST, {**record, "files": files})
    with pytest.raises(UserError, match=r"(alignment|table2)\.csv is .* evidence keep"):
        redraw(copy, tmp_path / "out")
    keep(copy)
    assert contents(copy) == contents(kept)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keep(copy)
    with pytest.raises(UserError, match="evidence"):  # what was cut off does not look whole
        redraw(copy, tmp_path / "out")


def some_of(results: Path, folder: Path, sizes: Iterable[int]) -> Path:
    """A copy of a results folder with the runs of some sizes."""
    shutil.copytree(results, folder)
    for run in folder.glob("dice-ce/n*"):
        if int(run.name.removeprefix("n")) not in sizes:
            shutil.rmtree(run)
    return folder


def test_measured_runs_are_added_to_what_is_kept(results: Path, kept: Path, tmp_path: Path) -> None:
    """In several goes the same results give the same bytes as in one."""
    early = some_of(results, tmp_path / "early", (468, 937, 1875))
    (early / "dice-ce/n937/init0-subset0/decomposition/index.json").unlink()
    shutil.rmtree(early / "dice-ce/n937/init1-subset0")
    folder = tmp_path / "kept"
    keep(folder, early)
    assert sorted(pd.read_parquet(folder / "runs.parquet")["n"]) == [468, 468, 1875, 1875]
    shutil.rmtree(early)  # what is kept needs its results no more
    late = some_of(results, tmp_path / "late", (937,))
    (late / "studies").rename(tmp_path / "gone")
    keep(folder, late)
    assert contents(folder) == contents(kept)


def test_another_run_of_the_same_name_is_refused(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "results"
    rows, row = synthetic.run("dice-ce", 468)
    synthetic.write_run_folder(other / "dice-ce/n468/init0-subset0", rows, {**row, "key": "0" * 16})
    before = contents(copy)
    with pytest.raises(UserError, match="n468/init0-subset0 differs from the kept run"):
        keep(copy, other)
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (STUDY, flip, r"table\.csv is damaged"),
        ("data/subsets/dice-subset0.npz", flip, r"dice-subset0\.npz .*is damaged"),
        ("provenance/dice-parameters.json", Path.unlink, r"dice-parameters\.json is missing"),
        ("dice-ce/n937/init0-subset0/trajectory.parquet", flip, r"n937/.*y\.parquet \(checksum\)"),
    ],
)
def test_unsound_results_are_not_kept(results, tmp_path, name, spoil, message) -> None:
    shutil.copytree(results, tmp_path / "results")
    spoil(tmp_path / "results" / name)
    with pytest.raises(UserError, match=message):
        keep(tmp_path / "kept", tmp_path / "results")
    assert not (tmp_path / "kept").exists()
