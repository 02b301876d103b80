"""SuperGLUE's tasks in their published form, SST as hashed ids, and BERT trained on both."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_archives import zip_of
from test_lstm import assert_learns_phrases

from eosflow.datasets import sst
from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Resources
from eosflow.datasets.embedding import load_model
from eosflow.datasets.sst import SST
from eosflow.datasets.superglue import RTE, BoolQ, SuperGLUE, WiC
from eosflow.datasets.token_ids import hashed_ids, load_tokenizer
from eosflow.networks.bert import BERTSettings
from eosflow.optimizers.preconditioned import Adam
from eosflow.storage.errors import UserError
from eosflow.workflow import config

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["is", "the", "sky", "blue", "it", "green", "bank", ":", "by", "river", "a", "##s"]
VOCABULARY = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}

# As the archives hold them.
PASSAGE = {"question": "is the sky blue", "passage": "It is green. It is the sky", "idx": 0}
ROWS: dict[type[SuperGLUE], list[dict[str, Any]]] = {
    BoolQ: [{**PASSAGE, "label": True}, {**PASSAGE, "label": False, "idx": 1}],
    WiC: [
        {
            "word": "bank", "sentence1": "The bank is blue", "sentence2": "By the river banks",
            "idx": number, "label": label, "start1": 4, "start2": 13, "end1": 8, "end2": 18,
            "version": 1.1,
        }
        for number, label in enumerate((False, True))
    ],
    RTE: [
        {"premise": "The sky is blue", "hypothesis": "It is blue", "label": label, "idx": number}
        for number, label in enumerate(("entailment", "not_entailment"))
    ],
}  # fmt: skip
# What the tokenizer must make of the first row: the words of the two texts.
TEXTS = {
    BoolQ: ("is the sky blue", "it is green [UNK] it is the sky"),
    WiC: ("bank : the bank is blue", "by the river bank ##s"),
    RTE: ("the sky is blue", "it is blue"),
}


def small_tokenizer(folder: Path) -> Path:
    """A folder of a model as published: its vocabulary and its configuration, and no weights."""
    from transformers import BertConfig

    folder.mkdir()
    BertConfig(vocab_size=len(VOCABULARY)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder


def archive_of(path: Path, kind: type[SuperGLUE], rows: list[dict[str, Any]]) -> Resources:
    title = kind.facts.title
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    unlabelled = "".join(json.dumps({**row, "label": None}) + "\n" for row in rows)
    held_out = json.dumps(rows[-1]) + "\n"
    members = {"train.jsonl": lines, "val.jsonl": held_out, "test.jsonl": unlabelled}
    named: dict[str, bytes | str] = {f"{title}/{name}": text for name, text in members.items()}
    return Resources(zip_of(path, named), path.parent / "cache")


@pytest.mark.parametrize("kind", ROWS)
def test_a_pair_is_what_the_tokenizer_makes_of_it(kind: type[SuperGLUE], tmp_path: Path) -> None:
    files = archive_of(tmp_path / "a.zip", kind, ROWS[kind])
    model = str(small_tokenizer(tmp_path / "model"))
    dataset = kind(positions=20, model=model)
    pool = dataset.open(files)
    assert pool.labels.tolist() == ([1, 0] if kind is BoolQ else [0, 1])
    found = pool.inputs(np.array([0])).reshape(3, 20)
    first, second = ([VOCABULARY[word] for word in text.split()] for text in TEXTS[kind])
    ids = [VOCABULARY["[CLS]"], *first, VOCABULARY["[SEP]"], *second, VOCABULARY["[SEP]"]]
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    for row, expected in zip(found, (ids, [1] * len(ids), types), strict=True):
        assert row.tolist() == expected + [0] * (20 - len(ids))
    held_out = dataset.open(files, held_out=True)
    assert held_out.labels.tolist() == [int(kind is not BoolQ)]
    assert dataset.class_names() == (
        ("entailment", "not_entailment") if kind is RTE else ("false", "true")
    )


def test_a_long_pair_loses_the_end_of_its_longer_text(tmp_path: Path) -> None:
    files = archive_of(tmp_path / "a.zip", BoolQ, ROWS[BoolQ])
    dataset = BoolQ(positions=11, model=str(small_tokenizer(tmp_path / "model")))
    ids, mask, types = dataset.open(files).inputs(np.array([1])).reshape(3, 11)
    words = ["[CLS]", "is", "the", "sky", "blue", "[SEP]", "it", "is", "green", "[UNK]", "[SEP]"]
    assert ids.tolist() == [VOCABULARY[word] for word in words]
    assert mask.all() and types.tolist() == [0] * 6 + [1] * 5


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (RTE, {"label": "neutral"}),
        (RTE, {"premise": None}),
        (WiC, {"sentence2": None}),
        (WiC, {"word": ["bank"]}),
        (BoolQ, {"label": "\x1b[31m" + "x" * 10**6}),
    ],
)
def test_another_archive_is_refused_by_line(
    kind: type[SuperGLUE], change: dict[str, Any], tmp_path: Path
) -> None:
    first, second = ROWS[kind]
    objects = ({**second, **change}, {"label": second["label"]}, "no object")
    for line in (*map(json.dumps, objects), "[" * 100_000):
        archive = zip_of(tmp_path / "a.zip", {"train.jsonl": f"{json.dumps(first)}\n{line}\n"})
        with pytest.raises(UnfitArchive, match=r"train\.jsonl, line 2 is no example") as refusal:
            kind().open(Resources(archive, tmp_path))
        assert len(str(refusal.value)) < 1000 and "\x1b" not in str(refusal.value)


def test_a_model_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    files = archive_of(tmp_path / "a.zip", RTE, ROWS[RTE])
    empty = small_tokenizer(tmp_path / "model")
    (empty / "vocab.txt").unlink()
    for model in (str(empty), "nobody/no-such-model"):
        with pytest.raises(UserError, match=r"the tokenizer .* could not be loaded: .*\n.*HF_H"):
            RTE(model=model).open(files).inputs(np.array([0]))
        with pytest.raises(UserError, match=r"the model .* could not be loaded: .*\n.*HF_HOME"):
            load_model(model, None)


def test_hashed_words_are_the_same_everywhere_and_below_the_vocabulary() -> None:
    first, second = hashed_ids(["good film", "a very good film indeed"], 4, 50).reshape(2, 3, 6)
    assert first[0, 0] == 1 and first[0, 3] == 2
    assert first[1].tolist() == [1, 1, 1, 1, 0, 0]  # start, two words, end
    assert second[0, 3:5].tolist() == first[0, 1:3].tolist()  # the same words
    assert second[0, 5] == 2  # the fifth word is cut off
    assert not (first[2].any() or second[2].any())
    many = hashed_ids([" ".join(str(n) for n in range(3000))], 3000, 50).reshape(3, -1)[0, 1:-1]
    counts = np.bincount(many, minlength=50)
    assert not counts[:3].any() and counts[3:].min() > 30  # all ids, about 64 times each


def test_bert_learns_phrases_and_is_measured_on_held_out_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = SST(encoder="hashed", classes=2, words=4, vocabulary=40)
    network = BERTSettings(layers=1, width=4, heads=2, vocabulary=40, positions=6)
    assert network.why_not(data.input_shape()) == ""
    assert_learns_phrases(data, network, Adam(learning_rate=0.03), tmp_path, monkeypatch)


def test_the_network_wants_token_ids_and_the_data_a_network_that_reads_them() -> None:
    paper = Path(__file__).parents[1] / "config.yaml"
    wrong = {"network": "bert", "select": ["cifar10-ce"]}
    with pytest.raises(UserError, match="the network bert cannot read cifar10"):
        config.load([paper], wrong)


@pytest.mark.parametrize(
    ("package", "read"),
    [
        ("transformers", lambda: load_tokenizer("bert-base-uncased", None)),
        ("transformers", lambda: load_model("roberta-base", None)),
        ("nltk", lambda: sst.parse_trees("(2 (2 a) (2 film))", "dev.txt")),
    ],
    ids=["tokenizer", "encoder", "trees"],
)
def test_a_package_that_is_not_installed_is_named(
    package: str, read: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package}, which is not installed: pip install 'eosf"):
        read()
