"""Every study is a folder that says everything about itself, whatever studies there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_columns import entry, hold

from eosflow.analysis import claims
from eosflow.studies import STUDIES, Study, page

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ROOT / "eosflow" / "studies"
each = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


def test_every_folder_is_in_the_registry_once() -> None:
    folders = {path.parent.name for path in FOLDERS.glob("*/words.yaml")}
    assert sorted(study.folder for study in STUDIES.values()) == sorted(folders)


@each
def test_its_table_can_be_made_and_its_words_are_whole(study: Study) -> None:
    assert study.of_runs or study._home("rows")
    assert study.title and study.caption and study.words["text"]


@each
def test_what_is_measured_of_it_is_what_is_said_of_it(study: Study) -> None:
    """Each statement of words.yaml has a measure, and each measure a statement."""
    if not study.judged:
        return
    module = study._module("claims")
    measured = [
        name
        for part in ("MEASURES", "COMPARED", "COMPARISONS", "CORRELATIONS", "OF_THE_INSTABILITY")
        for name in getattr(module, part, ())
    ]
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert set(measured) <= set(study.statements)
    assert all(f'"{name}"' in source for name in study.statements)


@each
def test_nothing_outside_of_its_folder_names_it(study: Study) -> None:
    name = study.folder
    module = re.compile(rf"eosflow\.studies\.{name}\b|studies/{re.escape(study.name)}/")
    others = [
        path
        for path in [*(ROOT / "eosflow").rglob("*.py"), *(ROOT / "rules").glob("*.smk")]
        if not path.is_relative_to(FOLDERS)
    ]
    assert not [path.name for path in others if module.search(path.read_text(encoding="utf-8"))]


@each
def test_its_recorded_table_has_its_columns_and_can_be_judged(study: Study) -> None:
    path = page.RECORDED / f"{study.name}.csv"
    if not path.exists():
        pytest.skip("not run at this version")
    table = pd.read_csv(path)
    # Of runs some columns are there only if a run is measured so.
    hold(entry(study.data), map(str, table), whole=not study.of_runs)
    assert study.draw(path).axes
    if study.judged:
        verdicts = study.judge(table)
        assert list(verdicts) == claims.COLUMNS
        assert set(verdicts["verdict"]) <= set(claims.VERDICTS)
        ours = verdicts["source"] == claims.EXPECTED
        assert not verdicts.loc[ours, "verdict"].isin([claims.HOLDS, claims.CONTRADICTED]).any()


def test_what_plans_costs_little_and_what_draws_and_judges_no_torch() -> None:
    """Planning reads the registries at every start of Snakemake and in each of its jobs."""
    modules = [
        f"eosflow.studies.{study._home(name)}.{name}"
        for study in STUDIES.values()
        for name, there in (("claims", study.judged), ("figure", study.drawn))
        if there
    ]
    code = f"""
import socket, sys
kept, socket.socket = socket.socket, None
import eosflow.workflow.plan, eosflow.optimizers.batches
from eosflow import datasets, networks, optimizers
for registry in (datasets.DATASETS, networks.NETWORKS, optimizers.OPTIMIZERS):
    for kind in registry.values():
        kind.example()
heavy = "numpy torch transformers nltk cairocffi pandas pyarrow requests matplotlib".split()
print([name for name in heavy if name in sys.modules])
socket.socket = kept
import {", ".join(modules)}
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["[]", "False"], done.stdout + done.stderr
