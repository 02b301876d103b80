"""What a config may say: every refusal names the key, what was given and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from project import ROOT

from eosflow.datasets import DATASETS
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.workflow import config, expand
from eosflow.workflow.schema import SECTIONS

PAPER = ROOT / "config.yaml"
DEMO = ROOT / "config" / "demo.yaml"


TITLED = {"dataset": "dice", "criterion": "cross_entropy", "n": [6], "target_loss": 0.1}
OWN = {"kind": "table", "path": "x.npz"}


def euler(**values: Any) -> dict[str, Any]:
    return {"optimizers": {"exponential-euler": values}}


def refusal(overrides: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        config.load([PAPER], overrides)
    return str(caught.value)


def test_the_paper_is_table_1() -> None:
    runs = expand.expand(config.load([PAPER]))
    assert len(runs) == 368
    count = {
        name: sum(run.experiment == name for run in runs.values())
        for name in ("dice-ce", "cifar10-ce", "cifar10-mse", "atrialfibrillation-ce", "sst-ce")
    }
    assert list(count.values()) == [80, 80, 64, 80, 64]
    one = runs["cifar10-mse/n3125/init3-subset2"]
    assert (one.criterion, one.target_loss) == ("squared_error", 0.02)
    assert (one.network.width, one.network.depth) == (512, 6)


@pytest.mark.registry
@pytest.mark.parametrize("path", sorted(DEMO.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_config_of_the_project_makes_what_it_selects(path: Path) -> None:
    """Laid over the paper's, and over the adaptive flow's, for which some are meant."""
    whole = path.with_stem(path.stem.removesuffix("-small"))
    own = [whole] if whole != path else []
    if path.stem.startswith("tables-vit"):
        own.insert(0, DEMO.parent / "tables.yaml")
    for below in ([PAPER], [PAPER, DEMO.parent / "adaptive.yaml"]):
        loaded = config.load([*below, *own, path])
        asked = set(loaded["select"])
        for name, experiment in loaded["experiments"].items():
            if experiment.get("study") in loaded["studies"]:
                asked.add(name)
        made = {run.experiment for run in expand.expand(loaded).values()}
        assert made == asked and made


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"networks": {"mlp": {"widht": 3}}}, ["mlp.widht: there is", "Did you mean width?"]),
        ({"network": "mpl"}, ["network: 'mpl' was given; allowed: mlp, ", "Did you mean mlp?"]),
        ({"max_iterations": 3}, ["max_iterations: there is", "allowed here: ", ", stop, "]),
        ({"batches": {"full": {"size": 3}}}, ["batches.full.size: ", "take it out"]),
        ({"datasets": {"dise": {}}}, ["datasets.dise: there is no such key", "Did you mean dice?"]),
        (euler(max_step_size=float("inf")), ["max_step_size: inf", "a finite number"]),
        (euler(max_step_size="fast"), ["'fast' was given; input should be a valid number"]),
        (
            euler(eigen_tolerance=1e-6),
            ["euler: eigen_tolerance: 1e-06 was given", "least 1e-05", "eigen_dtype: float64"],
        ),
        ({"optimizer": "adam"}, ["optimizers.adam.learning_rate is missing (learning"]),
        (
            {"batch": "shuffled", "batches": {"shuffled": {"size": 8}}},
            ["exponential-euler follows the flow of the whole loss", "set batch: full"],
        ),
        (
            {"batch": "shuffled", "batches": {"shuffled": {"size": 8, "augment": "crop-and-flip"}}},
            ["augment is for images", "which the network mlp does not read"],
        ),
        ({"network": "cnn"}, ["the network cnn cannot read sst"]),
        ({"measure": []}, ["measure: decomposition is missing"]),
        ({"seeds": {"subset": [0, 1, 0]}}, ["seeds.subset: [0, 1, 0] was given; no entry"]),
        ({"seeds": 3}, ["seeds: 3 was given; input should be keys with values"]),
        ({"select": ["dice-mse"]}, ["select: 'dice-mse' was given; allowed: dice-ce, "]),
        ({"device": "gpu"}, ["device: 'gpu' was given; allowed: auto, cpu, cuda"]),
        ({"mirror": "/no/such"}, ["mirror: '/no/such' was given; it must be the URL", "no folder"]),
        ({"checksums": {"AtrialFibrillation.zip": "0" * 64 + "\n"}}, ["should match pattern"]),
        ({"checksums": {"AtrialFibrilation.zip": "0" * 64}}, ["mean AtrialFibrillation.zip?"]),
        ({"mirror": "https://me:secret@host/x"}, ["mirror: the address holds a", ".netrc"]),
        ({"mirror": "~/no/such"}, [f"mirror: '{Path.home()}/no/such' was given", "no folder"]),
        ({"results_dir": "a{b}c"}, ["results_dir: 'a{b}c' was given", "'{', '}'", "braces"]),
        ({"results_dir": "a\nb"}, ["results_dir", "must not hold '\\n'"]),
        ({"experiments": {"provenance": TITLED}}, ["'provenance' was given", "folders called"]),
        ({"experiments": {"mse\n": TITLED}}, ["'mse\\n' was given", "small letters"]),
        ({"datasets": {"../x": OWN}}, ["datasets: '../x' was given", "up to 80 letters"]),
        (
            {"experiments": {"dice-ce": {"dataset": "dices"}}},
            ["experiments.dice-ce.dataset: 'dices' was given", "Did you mean dice?"],
        ),
        (
            {"experiments": {"cifar10-ce": {"n": [390, 50_001]}}},
            ["experiments.cifar10-ce.n: 50001 was given; the training split of cifar10 has 50000"],
        ),
        (
            {"experiments": {"dice-ce": {"n": [9]}}, "datasets": {"dice": {"images_per_class": 2}}},
            ["experiments.dice-ce.n: 9 was given; the training split of dice has 6 examples"],
        ),
        ({"experiments": {"mine": {}}}, ["mine.dataset is missing", "mine.n is missing"]),
    ],
)  # fmt: skip
def test_refusals(overrides: dict[str, Any], words: list[str]) -> None:
    message = refusal(overrides)
    for word in words:
        assert word in message


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal({"networks": {"mlp": {"width": 0, "depth": "deep"}}, "threads": -1})
    assert message.startswith("These 3 values")
    for key in ("networks.mlp.width: 0", "networks.mlp.depth: 'deep'", "threads: -1"):
        assert key in message


@pytest.mark.parametrize(("text", "value"), [("1e-2", 0.01), ("3", 3)])
def test_numbers_and_null_that_come_as_text(text: str, value: float) -> None:
    read = config.load([PAPER], euler(max_step_size=text) | {"mirror": "null"})
    assert read["mirror"] is None
    assert read["optimizers"]["exponential-euler"]["max_step_size"] == value


def test_an_unreadable_config_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("networks: {width: 3\n")
    for path, word in ((broken, "is not valid YAML"), (tmp_path / "no.yaml", "cannot be read")):
        with pytest.raises(UserError, match=word) as caught:
            config.load([PAPER, path])
        assert str(path) in str(caught.value)


def test_an_experiment_is_left_out_only_where_its_archive_is_missing(tmp_path: Path) -> None:
    demo = config.load([PAPER, DEMO], {"results_dir": str(tmp_path)})
    left, lines = config.available(demo)
    assert left["select"] == ["dice-ce"]
    assert ["AtrialFibrillation.zip" in line and "MIRROR" in line for line in lines] == [True]
    assert config.available(demo | {"mirror": "somewhere"})[1] == []
    (tmp_path / "data" / "archives").mkdir(parents=True)
    (tmp_path / "data" / "archives" / "AtrialFibrillation.zip").touch()
    assert config.available(demo) == (demo, [])
    with pytest.raises(UserError, match="No experiment is left"):
        config.available(demo | {"select": ["atrialfibrillation-ce"], "results_dir": "nowhere"})


def test_the_papers_config_says_what_the_defaults_are() -> None:
    """Defaults are what keys leave out, so a key of the paper's runs holds names alone."""
    one = expand.expand(config.load([PAPER]))["cifar10-ce/n390/init0-subset0"]
    brief = one._short(settings.changed_fields)
    assert brief["network"] == {"name": "mlp"}
    assert brief["optimizer"] == {"name": "exponential-euler"}
    assert not {"batch", "stop", "snapshots"} & set(brief)
    assert brief["dataset"] == {"name": "cifar10"}


@pytest.mark.registry
def test_every_group_of_keys_refuses_an_unknown_one() -> None:
    tables = {f"{table}.{name}" for table, known in SECTIONS.values() for name in known}
    tables |= {f"datasets.{name}" for name, each in DATASETS.items() if not settings.requires(each)}
    groups = {"", "seeds", "stop", "figures", "experiments.NAME", "experiments.NAME.stop"}
    for path in groups | tables:
        unknown: Any = {"quite_unknown": 1}
        for name in reversed(path.replace("NAME", "dice-ce").split(".") if path else ()):
            unknown = {name: unknown}
        assert f"{path}.quite_unknown: there".removeprefix(".").replace("NAME", "dice-ce") in (
            refusal(unknown)
        )


@pytest.mark.parametrize("name", ["a{b}.npz", "a\nb.npz"])
def test_a_file_of_ones_own_with_a_name_that_cannot_be_named(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / name, inputs=np.zeros((8, 2)), labels=np.arange(8) % 2)
    given = {"path": str(tmp_path / name), "title": "Own", "licence": "CC0"}
    own = {"datasets": {"own": {"kind": "table", **given}}}
    message = refusal({**own, "experiments": {"dice-ce": {"dataset": "own", "n": [2]}}})
    assert f"datasets.own: {str(tmp_path / name)!r:.40}" in message
    assert "must not hold" in message
