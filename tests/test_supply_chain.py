"""What runs the checks, and where packages come from."""

from __future__ import annotations

import re

import yaml
from project import ROOT


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile, without the environment's folder."""
    block = re.search(
        rf"^{re.escape(target)}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M
    )
    assert block, target
    return [line.strip().replace("$(BIN)/", "") for line in block[1].splitlines()]


def test_pre_commit_runs_every_check_but_the_tests() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"]]
    checks = [line for line in recipe("test") if not line.startswith("pytest")]
    assert entries == checks


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
