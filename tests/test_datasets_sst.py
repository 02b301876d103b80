"""SST: phrases of the trees, and their embedding against `transformers` called directly."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from small_archives import TREES, small_roberta, sst_zip

from eosflow.datasets import embedding, sst
from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Resources
from eosflow.datasets.embedding import embed_phrases
from eosflow.datasets.sst import SST
from eosflow.storage.errors import UserError

HIDDEN = 24
NO_BREAK = "8\u00a01\\/2"
PHRASES = ["The", "The Rock is great", f"An awful {NO_BREAK}", "antidisestablishmentarianism", "."]


def numbered(count: int) -> str:
    return " ".join(f"word{number}" for number in range(count))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "roberta"
    return str(small_roberta(folder, [TREES, "The Rock is great . An awful word " * 5], HIDDEN))


@pytest.fixture
def settings(model: str) -> SST:
    return SST(model=model, revision="main")


def directly(settings: SST, phrase: str) -> np.ndarray:
    """(words, HIDDEN) by a plain call of the public classes: one phrase, no batch, no padding.

    The pieces of a word are found by tokenizing it alone, not by word_ids as in the program.
    """
    from transformers import RobertaModel, RobertaTokenizerFast

    tokenizer = RobertaTokenizerFast.from_pretrained(settings.model)
    model = RobertaModel.from_pretrained(settings.model, add_pooling_layer=False).eval()
    words = phrase.split(" ")[: settings.words]
    pieces = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    ids = [tokenizer.bos_token_id, *[i for word in pieces for i in word], tokenizer.eos_token_id]
    with torch.no_grad():
        states = model(torch.tensor([ids])).last_hidden_state[0, 1:-1].numpy()
    if settings.tokens == "piece":
        rows = list(states[: settings.words])
    else:
        ends = np.cumsum([len(word) for word in pieces])
        rows = [
            states[end - len(word) : end].mean(axis=0)
            for end, word in zip(ends, pieces, strict=True)
        ]
    result = np.zeros((settings.words, HIDDEN), dtype=np.float32)
    result[: len(rows)] = rows
    return result


# --- trees --------------------------------------------------------------------------------------


def test_phrases_of_small_trees():
    phrases = sst.parse_trees(TREES, "train.txt")
    assert list(phrases.items())[:3] == [
        ("The Rock is destined great .", 3),
        ("The Rock", 2),
        ("The", 2),
    ]
    assert phrases[f"An awful {NO_BREAK} The Rock"] == 1
    assert phrases[f"{NO_BREAK} The Rock"] == 2
    assert phrases[NO_BREAK] == 2  # one token: the no-break space does not divide it
    assert phrases["awful"] == 0
    assert sst.parse_trees("(2 a\u0085b)\n", "train.txt") == {"a\u0085b": 2}  # on one line
    assert len(phrases) == 18 - 1  # "The Rock", "The" and "Rock" once each


@pytest.mark.parametrize(
    "line",
    ["(5 a)", "( a)", "(2 )", "(2 a b)", "(2 (2 a) b)", "(3 (2 a) (2 b)", "(3 a))", "plain text",
     "(1 Rock)"],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path, line):
    """The last has another label than the same word of an earlier line."""
    archive = Resources(sst_zip(tmp_path / "s.zip", TREES + line + "\n"), tmp_path)
    with pytest.raises(UnfitArchive, match=r"s\.zip: train\.txt, line 3 is no tree"):
        SST(encoder="random").open(archive)


def test_two_classes_and_held_out_phrases(tmp_path):
    """Without the neutral; and of the test trees what no training tree has."""
    archive = Resources(sst_zip(tmp_path / "s.zip"), tmp_path / "cache")
    five = sst.parse_trees(TREES, "train.txt")
    phrases, labels = sst.read_phrases(archive, 2)
    assert dict(zip(phrases, labels.tolist(), strict=True)) == {
        phrase: int(label > 2) for phrase, label in five.items() if label != 2
    }
    phrases, labels = sst.read_phrases(archive, 5, held_out=True)
    # "The", "great" and "awful" were trained on.
    expected = {"The great": 4, "One awful film": 1, "One": 2, "awful film": 0, "film": 2}
    assert dict(zip(phrases, labels.tolist(), strict=True)) == expected
    pool = SST(encoder="random", words=3).open(archive, held_out=True)
    assert not archive.cache.exists()
    assert (pool.inputs(np.array([1])) == sst.random_vectors(["One awful film"], 3)).all()
    assert "test trees" in pool.preprocessing["phrases"]


def test_the_pool_embeds_what_is_asked_for(tmp_path, settings, monkeypatch):
    asked: list[str] = []
    encode = embedding.encode

    def spy(tokenizer, model, phrases, settings):
        asked.extend(phrases)
        return encode(tokenizer, model, phrases, settings)

    monkeypatch.setattr(embedding, "encode", spy)
    pool = settings.open(Resources(sst_zip(tmp_path / "s.zip"), tmp_path / "cache"))
    inputs = pool.inputs(np.array([1, 0, 2]))
    assert sorted(asked) == ["The", "The Rock", "The Rock is destined great ."]
    assert inputs.dtype == np.float32
    expected = directly(settings, "The Rock is destined great .").reshape(-1)
    np.testing.assert_allclose(inputs[1], expected, atol=1e-5)


def test_the_real_trees(real_data, monkeypatch):
    monkeypatch.setattr(sst, "parse_trees", functools.cache(sst.parse_trees))
    archive = Resources(real_data / "trainDevTestTrees_PTB.zip", Path("unused"))
    phrases, labels = sst.read_phrases(archive, 5)
    assert len(phrases) == 159_274
    assert np.bincount(labels).tolist() == [7233, 27711, 81658, 33361, 9311]
    assert phrases[1] == "The Rock"
    assert phrases[0].startswith("The Rock is destined to be the 21st Century 's new `` Conan ''")
    assert labels[0] == 3
    assert sum("\u00a0" in phrase for phrase in phrases) == 25
    assert len(sst.read_phrases(archive, 2)[0]) == 77_616
    tested, held_out = sst.read_phrases(archive, 5, held_out=True)
    assert len(set(tested)) == len(held_out) == SST().size(held_out=True)
    assert not set(tested) & set(phrases)
    assert (held_out != 2).sum() == SST(classes=2).size(held_out=True)


def test_random_vectors_are_of_the_word_alone():
    phrases = ["The Rock is The", f"{NO_BREAK} Rock", numbered(40)]
    rows = sst.random_vectors(phrases, 5).reshape(3, 5, 768)
    the, rock, _, again, nothing = rows[0]
    assert (the == again).all() and (rock == rows[1, 1]).all() and not (the == rock).any()
    assert (nothing == 0).all() and (rows[1, 2:] == 0).all()
    # The seed as its docstring has it, by way of hexadecimal digits.
    seed = int(hashlib.sha256(b"Rock").hexdigest()[:32], 16)
    expected = np.random.Generator(np.random.PCG64(seed)).standard_normal(768, np.float32)
    assert (rock == expected).all()
    # Other words have other vectors: 32 of them are as uncorrelated as so many draws would be.
    words = sst.random_vectors([numbered(40)], 32).reshape(32, 768)
    cosines = np.corrcoef(words)[np.triu_indices(32, 1)]
    assert abs(cosines).max() < 5 / 768**0.5 and words.std() == pytest.approx(1, rel=0.02)

    with pytest.raises(UserError, match="take tokens: word, or encoder: roberta"):
        SST(encoder="random", tokens="piece")


# --- embedding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", ["word", "piece"])
def test_equal_to_a_direct_call(tmp_path, settings, tokens):
    """Of each phrase alone, whatever else is in its batch; cropped before the model sees it."""
    settings = settings.model_copy(update={"tokens": tokens})
    phrases = [*PHRASES, *(numbered(count) for count in (1, 5, 31, 32, 33, 40))]
    inputs = embed_phrases(phrases, settings, tmp_path).reshape(-1, 32, HIDDEN)
    for phrase, vectors in zip(phrases, inputs, strict=True):
        np.testing.assert_allclose(vectors, directly(settings, phrase), atol=1e-5)
    assert np.abs(inputs[0, 0]).max() > 0.1  # the small model does not map everything to zero
    assert len({vectors.tobytes() for vectors in inputs[: len(PHRASES)]}) == len(PHRASES)


def test_the_cache_spares_the_model(tmp_path, settings, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(settings.model, folder)
    settings = settings.model_copy(update={"model": str(folder)})
    first = embed_phrases(PHRASES, settings, tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(embedding, "load_model", refuse)
    again = embed_phrases(PHRASES[::-1], settings, tmp_path)
    np.testing.assert_array_equal(again, first[::-1])
    for change in ({"tokens": "piece"}, {"words": 31}):
        with pytest.raises(AssertionError, match="was loaded"):
            embed_phrases(PHRASES, settings.model_copy(update=change), tmp_path)
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"?")
    with pytest.raises(AssertionError, match="was loaded"):  # for it is another one now
        embed_phrases(PHRASES, settings, tmp_path)


@pytest.fixture
def one_thread():
    """A copy of a process that has used several would wait for the others for ever."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_kill_costs_the_shard_at_work_and_changes_no_vector(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 1)
    monkeypatch.setattr(embedding, "SHARD", 2)
    encode, calls, last = embedding.encode, [], 4

    def killed_at_the_last(*arguments):
        calls.append(1)
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(*arguments)

    monkeypatch.setattr(embedding, "encode", killed_at_the_last)
    given = (PHRASES, settings, tmp_path / "killed")
    process = multiprocessing.get_context("fork").Process(target=embed_phrases, args=given)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    last = 0
    again = embed_phrases(*given)
    assert len(calls) == 3  # two of five were kept
    whole = embed_phrases(PHRASES, settings, tmp_path / "whole")
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("weights", ["none", "pickled"])
def test_a_model_without_safetensors_is_refused(tmp_path, settings, weights):
    folder = tmp_path / "model"
    shutil.copytree(settings.model, folder)
    (folder / "model.safetensors").unlink()
    if weights == "pickled":
        torch.save({}, folder / "pytorch_model.bin")
    settings = settings.model_copy(update={"model": str(folder)})
    with pytest.raises(UserError, match=r"datasets\.sst\.model") as failure:
        embed_phrases(PHRASES, settings, tmp_path / "cache")
    assert str(folder) in str(failure.value)
