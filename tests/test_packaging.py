"""The package: where others come from, what a wheel holds, a workflow around it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from project import ROOT, TINY, Project

import eosflow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


ENVS = ROOT / "envs"
# Installed into one environment, so that they must agree.
LOCKS = ("torch", "lock", "test", "docs", "peers")
# A requirement, and the lines of its hashes.
PINNED = re.compile(r"([\w.-]+)==([^\s;]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)")


def pins(text: str) -> dict[str, Version]:
    """Exact versions in a lock file, by normalised name. Every line must be of a hashed pin."""
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    found = {canonicalize_name(name): Version(version) for name, version, _ in PINNED.findall(body)}
    assert not PINNED.sub("", body).strip(), "something is no package with its hashes"
    return found


FILES = {name: pins((ENVS / f"{name}.txt").read_text()) for name in LOCKS}
LOCK = {name: version for file in FILES.values() for name, version in file.items()}


def asked(*groups: str) -> list[Requirement]:
    """What the package and some of its extras need, but for the package itself."""
    lines = [*PROJECT["dependencies"], *(line for group in groups for line in EXTRAS[group])]
    return [r for r in map(Requirement, lines) if r.name != "eosflow"]


def test_the_lock_has_an_exact_version_in_every_range() -> None:
    for requirement in asked(*EXTRAS):
        assert LOCK[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_no_package_is_locked_at_two_versions() -> None:
    assert all(LOCK[name] == version for file in FILES.values() for name, version in file.items())


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile", "README.md"])
def test_one_version_of_torch_is_installed_by_hand(file: str) -> None:
    named = re.findall(r"torch==([\d.]+)", (ROOT / file).read_text())
    assert set(map(Version, named)) == {LOCK["torch"]}


def test_conda_pins_what_the_lock_pins() -> None:
    environment = yaml.safe_load((ROOT / "envs" / "eosflow.yaml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "cairo", "pip"]
    needed = {canonicalize_name(r.name) for r in asked("workflow", "report", "sst", "slurm")}
    pinned = dict(each.split("==") for each in pip["pip"])
    assert {canonicalize_name(n): Version(v) for n, v in pinned.items()} == {
        name: LOCK[name] for name in needed
    }


def test_the_rules_that_need_snakemake_ask_for_the_version_that_is_locked() -> None:
    (needed,) = re.findall(r'min_version\("(.*)"\)', (ROOT / "Snakefile").read_text())
    assert Version(needed) <= LOCK["snakemake"]


@pytest.mark.slow
def test_a_wheel_holds_all_that_the_package_reads(tmp_path: Path) -> None:
    build = (
        "from setuptools.build_meta import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    )
    source = tmp_path / "source"
    project = Project(source)  # a copy, so that nothing is built in this tree
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-c", build, str(tmp_path)]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        inside = set(wheel.namelist())
        wheel.extractall(tmp_path / "site")
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "eosflow").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there <= inside
    assert not {name.split("/")[0] for name in inside} - {
        "eosflow",
        f"eosflow-{eosflow.__version__}.dist-info",
    }
    # Outside the tree, from the wheel alone: the table of columns, the schema and the command.
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import eosflow; "
        "assert eosflow.__file__.startswith(sys.argv[1]); "
        "from eosflow.workflow import schema, terminal; schema.Config.model_json_schema(); "
        "terminal.main(['explain', 'overlap'])"
    )
    command = [sys.executable, "-I", "-c", program, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "λ₁(G)" in done.stdout


def test_what_is_published_names_this_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    deposit = json.loads((ROOT / ".zenodo.json").read_text())
    assert {citation["version"], eosflow.__version__} == {PROJECT["version"]}
    assert f"## {eosflow.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert {citation["license"], deposit["license"]} == {PROJECT["license"]}
    assert citation["title"] == deposit["title"]
    assert citation["keywords"] == deposit["keywords"]


@pytest.mark.slow
def test_the_workflow_is_a_module_of_another(tmp_path: Path) -> None:
    """As docs/how-to.md shows it, in a folder of its own."""
    page = (ROOT / "docs" / "how-to.md").read_text()
    section = page.split("\n## Use the workflow in another\n", 1)[1].split("\n## ", 1)[0]
    (snakefile,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    clone = Project(tmp_path / "mine" / "eosflow")
    mine = Project.__new__(Project)
    mine.root, mine.code = tmp_path / "mine", clone.root
    (mine.root / "Snakefile").write_text(snakefile)
    (mine.root / "mine.yaml").write_text(TINY)
    profile = ("--workflow-profile", "eosflow/profiles/default")
    assert mine.jobs(*profile, tiny=False)["eosflow_train"] == 4
    target = "results/data/subsets/dice-subset0.npz"
    output = mine.run(target, *profile, tiny=False)
    assert (mine.root / target).exists()
    assert "1 of 1 steps" in output
    assert (mine.root / "results" / "logs" / "configuration.json").exists()


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile, without the environment's folder."""
    block = re.search(
        rf"^{re.escape(target)}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M
    )
    assert block, target
    return [line.strip().replace("$(BIN)/", "") for line in block[1].splitlines()]


def test_ci_runs_the_script_with_few_rights_and_pinned_actions() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert jobs["permissions"] == {"contents": "read"}
    steps = jobs["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"}
    for step in steps:
        assert "uses" not in step or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])


def test_everything_but_torch_is_installed_by_its_hash() -> None:
    installs = [
        line
        for target in (".venv/runtime", ".venv/test", ".venv/docs")
        for line in recipe(target)
        if line.startswith(("$(LOCKED)", "$(INSTALL)"))
    ]
    unchecked = [line for line in installs if not line.startswith("$(LOCKED)")]
    assert unchecked == [
        "$(INSTALL) torch==2.13.0",
        "$(INSTALL) --no-deps --no-build-isolation --editable .",
    ]
    assert "LOCKED := $(INSTALL) --no-deps --require-hashes -r\n" in (ROOT / "Makefile").read_text()


def test_the_container_runs_as_a_user_from_an_image_by_its_digest() -> None:
    commands = (ROOT / "Dockerfile").read_text()
    users = re.findall(r"^USER (\S+)$", commands, re.M)
    assert users == ["eosflow"]
    images = re.findall(r"^FROM (\S+)", commands, re.M)
    assert images
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images)
