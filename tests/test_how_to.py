"""The recipes of docs/how-to.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzzing.nursery import Nursery
from project import ROOT, Project

from eosflow.storage.files import read_json

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def recipe(title: str) -> str:
    """The text of one section."""
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def follow(root: Path, title: str) -> None:
    """Write the files that a recipe shows, and enter its line where the recipe says."""
    module, line = recipe(title).split("\n2. In ")
    one = r"`(eosflow/[a-z_/]+\.(?:py|yaml))`(?:(?!```).)*?```\w+\n(.*?)```"
    shown = re.findall(one, module, re.DOTALL)
    assert shown
    for file, content in shown:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(content, encoding="utf-8")
    place, line = re.match(r"`(eosflow/[a-z_/]+\.py)` (.*)", line).groups()
    content = (root / place).read_text(encoding="utf-8")
    if imported := re.match(r"import `(\w+)` and add it to `(\w+)`", line):
        name, table = imported.groups()
        module = shown[0][0].removesuffix(".py").replace("/", ".")
        first = re.search(r"^from eosflow", content, re.MULTILINE).start()
        content = content[:first] + f"from {module} import {name}\n" + content[first:]
        pattern, new = rf"({table}: [^\n]*= \{{.*?for \w+ in \(\n)", f"        {name},\n"
    else:
        name, table = re.match(r'add `("\w+")` to `(\w+)`', line).groups()
        pattern, new = rf"({table}\b[^\n]*= \()", f"{name}, "
    entered, count = re.subn(
        pattern, lambda match: match[1] + new, content, count=1, flags=re.DOTALL
    )
    assert count == 1, f"{place} has no table {table} of the usual form"
    (root / place).write_text(entered, encoding="utf-8")


RECIPES = tuple(re.findall(r"^## (Add an? \w+)$", PAGE, re.MULTILINE))


def test_after_all_recipes_every_test_of_what_is_registered_passes(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Six things more, `make generate`, and the tests that go over registries and pages.

    Of what was there before, those that this very session runs are not run twice.
    """
    things = ("an optimizer", "a network", "a measurement", "a dataset", "a study", "a figure")
    assert tuple(f"Add {thing}" for thing in things) == RECIPES
    tree = tmp_path / "tree"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for file in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
        if (ROOT / file).is_file():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, tree / file)
    for title in RECIPES:
        follow(tree, title)
    generate = re.search(r"^generate:.*\n\t\$\(BIN\)/python (.*)$", MAKEFILE, re.MULTILINE)[1]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    marked = [
        str(f) for f in (tree / "tests").glob("test_*.py") if "mark.registry" in f.read_text()
    ]
    tests = ["-m", "pytest", "-q", "-x", "-m", "registry", "-p", "no:cacheprovider", *marked]
    here = (each for each in request.session.items if each.get_closest_marker("registry"))
    tests += [
        f"--deselect={each.nodeid}"
        for each in here
        if "[" in each.name and "docs" not in each.nodeid
    ]
    for arguments in (generate.split(), tests):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    # One run of each was among them: what is new is known, and nothing of what was there has moved.
    known = read_json(tree / "tests/data/keys.json")
    assert {"optimizer sign-descent", "network linear", "dataset stripes"} <= known.keys()
    assert read_json(ROOT / "tests/data/keys.json").items() < known.items()
    for page, name in (
        ("columns", "weight_norm"),
        ("figures", "final-loss"),
        ("studies", "my-study"),
    ):
        assert name in (tree / f"docs/{page}.md").read_text(encoding="utf-8")


MINE = """
select: [stripes, linear, signs]
measure: [decomposition, weight-norm]
stop: {max_iterations: 40}
datasets: {stripes: {}}
experiments:
  stripes: {dataset: stripes, criterion: cross_entropy, n: [10], target_loss: 0.3,
    stop: {max_iterations: 2000}}
  linear: {dataset: dice, criterion: cross_entropy, n: [6], target_loss: 0.01, network: linear}
  signs: {dataset: dice, criterion: cross_entropy, n: [6], target_loss: 0.01,
    optimizer: sign-descent, optimizers: {sign-descent: {learning_rate: 0.01}}}
"""


def test_what_the_recipes_add_runs_in_the_workflow(tmp_path: Path) -> None:
    project = Project(tmp_path / "tree")
    project.code = project.root
    for title in RECIPES:
        follow(project.root, title)
    (project.root / "my-study.yaml").write_text(
        re.search(r"```yaml\n(# my-study.yaml.*?)```", recipe("Add a study"), re.DOTALL)[1]
    )
    jobs = project.jobs("studies", "--configfile", "my-study.yaml", tiny=False)
    assert jobs == {"subset": 2, "train": 2, "study": 1, "studies": 1, "report": 1}
    (project.root / "mine.yaml").write_text(MINE)
    project.configs = ("tiny.yaml", "mine.yaml")
    project.run("results/measurements/weight-norm.parquet", "results/figures/final-loss.png")
    frame = pd.read_parquet(project.results / "measurements/weight-norm.parquet")
    assert set(frame["experiment"]) == {"stripes", "linear", "signs"}
    later = frame[(frame["experiment"] != "linear") | (frame["iteration"] > 0)]
    assert (later["weight_norm"] > 0).all()  # the linear network begins at 0
    folder = "n10/init0-subset0", "n6/init0-subset0"
    stripes = project.results / "stripes" / folder[0]
    assert json.loads((stripes / "run.json").read_text())["stopped"] == "target_loss"
    rows = pd.read_parquet(project.results / "signs" / folder[1] / "trajectory.parquet")
    assert (rows["learning_rate"] == 0.01).all()
    assert rows["loss"].iloc[-1] < rows["loss"].iloc[0]
    linear = project.results / "linear" / folder[1]
    record = json.loads((linear / "run.json").read_text())
    assert record["spec"]["network"] == {"name": "linear"}
    assert record["parameters"] == 6 * (64 + 1)
    first = json.loads((linear / "decomposition/step000000.json").read_text())
    # Softmax regression from 0: R = 0, and E‖M‖² is that of its one layer.
    assert first["sharpness_residual"] == pytest.approx(0, abs=1e-12)
    assert first["m_norm2"] == pytest.approx(first["layer_norm2_1"])


def test_use_your_own_data(tmp_path: Path, nursery: Nursery) -> None:
    """The README's promise: curves, power law and report of one file and one entry."""
    project = Project(tmp_path / "tree").hurry(nursery)
    project.edit("tiny.yaml", "studies: [edge-of-stability]", "studies: []")
    stream = np.random.default_rng(0)
    labels = stream.integers(0, 3, 64)
    inputs = stream.normal(size=(64, 5)) + labels[:, None]
    np.savez(project.root / "my-data.npz", inputs=inputs, labels=labels)
    yaml = re.search(r"```yaml\n(.*?)```", recipe("Use your own data"), re.DOTALL)[1]
    (project.root / "mine.yaml").write_text(yaml)
    project.configs = ("tiny.yaml", "mine.yaml")
    project.make()
    law = pd.read_csv(project.results / "table2.csv").set_index("dataset").loc["my-data"]
    assert law["runs"] == 3
    for name in ("mine-sharpness", "mine-factors", "power-law"):
        assert (project.results / f"figures/{name}.png").stat().st_size > 10_000
    page = (project.results / "report.html").read_text()
    assert "My data" in page
    record = json.loads((project.results / "data/subsets/my-data-subset0.json").read_text())
    assert record["licence"] == "CC BY 4.0"
