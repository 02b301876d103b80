"""What a user writes reaches the jobs as text: really run, with strings that a shell would obey."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from fuzzing.nursery import Nursery
from project import ROOT, Project

from eosflow.runs.names import RUNS
from eosflow.workflow.places import TAKEN

pytestmark = pytest.mark.slow

# Quotes that end a quoted word, and commands of every spelling.
EVIL = "r'$(touch PWNED)`touch PWNED`\"; touch PWNED #'r"
# A name that Snakemake's formatting would turn into EVIL, which it quotes no more.
SECOND = "{config[results_dir]}{wildcards.archive}"


def unharmed(project: Project) -> None:
    """No command ran that a string of the config spells out."""
    assert not list(project.root.rglob("*PWNED")), "a string of the config was run"


def test_every_string_is_text(tmp_path: Path, nursery: Nursery) -> None:
    """From a mirror and a file of the user's own to the tables and a figure."""
    project = Project(tmp_path / "a tree's $(touch PWNED)").hurry(nursery)
    values = np.random.default_rng(0).normal(size=(40, 4))
    own, mirror = f"{EVIL}.npz", project.root / f"-{SECOND}{EVIL}"
    mirror.mkdir()
    (mirror / "AtrialFibrillation.zip").write_bytes(b"an archive")
    np.savez(project.root / own, inputs=values, labels=np.arange(40) % 2)
    text = {"title": EVIL + SECOND, "licence": EVIL + SECOND, "citation": EVIL + SECOND}
    config = {
        "results_dir": EVIL,
        "mirror": mirror.name,
        "select": ["mine"],
        "datasets": {"own": {"kind": "table", "path": own, **text}},
        "experiments": {
            "mine": {
                "title": EVIL + SECOND,
                "dataset": "own",
                "criterion": "cross_entropy",
                "n": [6, 12],
                "target_loss": 0.3,
            }
        },
    }
    (project.root / "evil.yaml").write_text(yaml.safe_dump(config))
    project.configs = (*project.configs, "evil.yaml")
    archive = f"{EVIL}/data/archives/AtrialFibrillation.zip"
    targets = [f"{EVIL}/table2.csv", f"{EVIL}/figures/mine-sharpness.pdf", archive]
    project.make(*targets)
    unharmed(project)
    assert all((project.root / target).stat().st_size for target in targets)
    assert (project.root / archive).read_bytes() == b"an archive"


def test_no_command_holds_a_value() -> None:
    """Snakemake formats `shell` again, so no rule may put a value into its text."""
    for path in (ROOT / "rules").glob("*.smk"):
        for block in re.findall(r"shell:\n(.*?)(?=\n\n|\Z)", path.read_text(), re.DOTALL):
            outside = re.sub(r'"[^"]*"', "", block)
            assert set(re.findall(r"\w+", outside)) <= {"job", "numeric", "KEEP_MEMORY"}, path


def test_the_folders_of_the_results_are_no_names_for_experiments() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert set(re.findall(r"\{RESULTS\}/([a-z]+)/", rules)) | {RUNS} == set(TAKEN)
