"""Mistakes on the command line and in the results folder: a message, and no traceback."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from project import Project

from eosflow.workflow import command_line


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("words") / "tree")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["results/tabel2.csv"], "Did you mean results/table2."),
        (["power_log.png"], "results/figures/power-law.png"),
        (["results/dice-ce/n7/init0-subset0/manifest.json"], "has no run dice-ce/n7/init0-"),
        (["--config", "device=cuda"], "device: cuda was given, but no GPU was found"),
    ],
)
def test_a_mistake_on_the_command_line(project: Project, arguments: list[str], words: str) -> None:
    output = project.run("--dry-run", *arguments, status=1)
    assert words in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_folder_where_the_lock_should_be(tmp_path: Path) -> None:
    project = Project(tmp_path / "tree")
    (project.results / ".lock").mkdir(parents=True)
    output = project.make("results/table3.csv", status=1)
    assert "results/.lock cannot be used: Is a directory. Something else lies" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [*command_line.REMEDIES, *command_line.FULL, errno.EBADF])
def test_a_file_system_that_refuses_and_a_defect_that_keeps_its_traceback(number: int) -> None:
    def refuse() -> None:
        raise OSError(number, os.strerror(number), "results/x")

    kind = OSError if number == errno.EBADF else SystemExit
    with pytest.raises(
        kind, match=rf"{os.strerror(number)}.*results/x|results/x.*{os.strerror(number)}"
    ):
        command_line.exit_on_user_error(refuse, "error: ")()
