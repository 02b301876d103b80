"""The recipes of docs/how-to.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ROOT, Project

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
RUN = "results/dice-ce/n6/init0-subset0"


def recipe(title: str) -> str:
    """The text of one section."""
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def follow(project: Project, title: str) -> None:
    """Write the module that a recipe shows, and enter its class in the registry it names."""
    text = recipe(title)
    file = re.search(r"`(eosflow/[a-z_/]+\.py)`", text)[1]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    (project.root / file).write_text(code)
    registry, name, table = re.search(
        r"In `(eosflow/[a-z_/]+\.py)` import `(\w+)` and add it to `(\w+)`", text
    ).groups()
    module = file.removesuffix(".py").replace("/", ".")
    content = (project.root / registry).read_text()
    first = re.search(r"^from eosflow", content, re.MULTILINE).start()
    content = content[:first] + f"from {module} import {name}\n" + content[first:]
    entered = re.sub(rf"({table}: [^\n]*= \{{.*?for \w+ in \(\n)", rf"\1        {name},\n", content,
                     count=1, flags=re.DOTALL)  # fmt: skip
    assert entered != content, f"{registry} has no table {table} of the usual form"
    (project.root / registry).write_text(entered)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "tree")


def test_add_an_optimizer(project: Project) -> None:
    follow(project, "Add an optimizer")
    settings = "optimizers={sign-descent: {learning_rate: 0.01}}"
    options = ("--config", "optimizer=sign-descent", settings, "stop={max_iterations: 30}")
    project.run(f"{RUN}/manifest.json", *options)
    rows = pd.read_parquet(project.root / RUN / "trajectory.parquet")
    assert (rows["learning_rate"] == 0.01).all()
    assert rows["loss"].iloc[-1] < rows["loss"].iloc[0]


def test_add_a_network(project: Project) -> None:
    follow(project, "Add a network")
    project.run(f"{RUN}/decomposition/index.json", "--config", "network=linear",
                "stop={max_iterations: 40}")  # fmt: skip
    record = json.loads((project.root / RUN / "run.json").read_text())
    assert record["spec"]["network"] == {"name": "linear"}
    assert record["parameters"] == 6 * (64 + 1)
    first = json.loads((project.root / RUN / "decomposition/step000000.json").read_text())
    # Softmax regression from 0: R = 0, and E‖M‖² is that of its one layer.
    assert first["sharpness_residual"] == pytest.approx(0, abs=1e-12)
    assert first["m_norm2"] == pytest.approx(first["layer_norm2_1"])


def test_add_a_measurement(project: Project) -> None:
    project.run(f"{RUN}/decomposition/index.json")
    follow(project, "Add a measurement")
    measured = ("--config", "measure=[decomposition, weight-norm]")
    target = f"{RUN}/measurements/weight-norm/index.json"
    assert project.jobs(target, *measured) == {"measure": 1}  # nothing is trained anew
    project.run(target, *measured)
    record = json.loads(
        (project.root / RUN / "measurements/weight-norm/step000000.json").read_text()
    )
    assert record["weight_norm"] > 0
    project.run("results/measurements/weight-norm.parquet", *measured)
    frame = pd.read_parquet(project.results / "measurements/weight-norm.parquet")
    assert set(frame["experiment"]) == {"dice-ce", "mse"}

    # With two beside the decomposition one job takes both, and none anew that is there.
    before = records(project.root / RUN)
    more = ("--config", "measure=[decomposition, weight-norm, top-eigenvalues]")
    target = f"{RUN}/measurements/top-eigenvalues/index.json"
    assert project.jobs(target, *more) == {"measure_weight_norm_top_eigenvalues": 1}
    project.run(target, *more)
    after = records(project.root / RUN)
    assert before.items() <= after.items()
    assert len(after) == len(before) * 3 // 2  # decomposition and weight norm were there
    assert project.jobs(target, *more) == {}


def records(folder: Path) -> dict[Path, int]:
    """What was measured of a run's snapshots, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("**/step*.json")}


def test_add_a_dataset(project: Project) -> None:
    follow(project, "Add a dataset")
    (project.root / "mine.yaml").write_text(
        "select: [mine]\ndatasets: {stripes: {}}\nexperiments: {mine: {dataset: stripes, "
        "criterion: cross_entropy, n: [10], target_loss: 0.3}}\n"
    )
    project.configs = ("tiny.yaml", "mine.yaml")
    project.run("results/mine/n10/init0-subset0/manifest.json")
    record = json.loads((project.results / "mine/n10/init0-subset0/run.json").read_text())
    assert record["stopped"] == "target_loss"


def test_use_your_own_data(project: Project) -> None:
    """The README's promise: curves, power law and report of one file and one entry."""
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


def test_add_a_study(project: Project) -> None:
    text = recipe("Add a study")
    files = re.findall(r"`(eosflow/[a-z_/]+my_study/[a-z_.]+)`.*?```\w+\n(.*?)```", text, re.DOTALL)
    for file, content in files:
        path = project.root / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    line = re.search(r"The line is .*?```python\n(.*?)```", text, re.DOTALL)[1]
    project.edit("eosflow/studies/__init__.py", "_FOLDERS = (\n", f"_FOLDERS = (\n{line}")
    (project.root / "my-study.yaml").write_text(
        re.search(r"```yaml\n(# my-study.yaml.*?)```", text, re.DOTALL)[1]
    )
    jobs = project.jobs("studies", "--configfile", "my-study.yaml", tiny=False)
    made = {
        "subset": 1,
        "held_out": 1,
        "train": 2,
        "study_of_runs": 1,
        "measure_top_eigenvalues_accuracy": 2,
    }
    assert jobs == made | {"studies": 1, "studies_page": 1}
