"""Stanford Sentiment Treebank: every phrase of the training trees, embedded word by word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from eosflow.datasets.base import Archive, DatasetSettings, Facts, Pool, Resources
from eosflow.datasets.token_ids import ROWS, hashed_ids
from eosflow.storage.errors import UserError, needs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.base import Integers

CLASSES = {
    5: ("very negative", "negative", "neutral", "positive", "very positive"),
    2: ("negative", "positive"),
}
# Phrases of the training trees, and of the test trees those that no training tree has; two classes
# drop the neutral.
DISTINCT = {5: 159_274, 2: 77_616}
HELD_OUT = {5: 37_397, 2: 19_442}
HIDDEN = 768  # of RoBERTa-base and of the random vectors: length of the vector at each position
FACTS = Facts(
    title="SST",
    archives=(
        Archive(
            name="trainDevTestTrees_PTB.zip",
            url="https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
            sha256="5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
        ),
    ),
    licence="none stated by its authors; research use with citation",
    citation="Socher et al. 2013, Recursive deep models for semantic compositionality",
)
TRAINING_MEMBER = "train.txt"
TEST_MEMBER = "test.txt"
LABELS = ("0", "1", "2", "3", "4")
NEUTRAL = 2
# A token is whatever stands between ASCII spaces and brackets. The default of nltk also splits at
# a no-break space, which some tokens hold ("8 1\/2").
TOKEN = r"[^ ()]+"


def parse_trees(text: str, name: str) -> dict[str, int]:
    """Phrase -> label 0 … 4, over all nodes of all trees, each phrase once, in order of appearance.

    Format: one tree per line, `(label child child)` or `(label token)`. A phrase is its tokens as
    published, joined by spaces. Source: Socher et al. 2013. `name` is the file's, for messages.

    Raises: ValueError naming the line that is not a tree, or that contradicts an earlier label.
    """
    with needs("nltk", "sst", "reading the trees of SST"):
        from nltk import Tree

    labels: dict[str, int] = {}
    # Not splitlines(), which would also split at U+0085 and U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip("\r "):
            continue
        try:
            tree = Tree.fromstring(line.strip("\r "), node_pattern=TOKEN, leaf_pattern=TOKEN)
            for node in tree.subtrees():
                if [type(child) for child in node] not in ([str], [Tree, Tree]):
                    raise ValueError(f"{node} has not a token or two nodes")
                phrase, label = " ".join(node.leaves()), LABELS.index(node.label())
                if labels.setdefault(phrase, label) != label:
                    raise ValueError(f"{phrase!r} has label {label}, earlier {labels[phrase]}")
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{name}, line {number} is no tree: {reason}") from error
    return labels


def read_phrases(
    resources: Resources, classes: int, held_out: bool = False
) -> tuple[list[str], Integers]:
    """The distinct phrases of the training trees and their labels, int64 (n,), 0 … classes−1.

    With `held_out` those of the test trees that no training tree has. 5 classes: from very negative
    to very positive. 2 classes: the neutral phrases are left out, negative is 0 and positive is 1.
    """
    import numpy as np

    with resources.members(TRAINING_MEMBER, TEST_MEMBER) as members:
        training = parse_trees(members[TRAINING_MEMBER].decode(), TRAINING_MEMBER)
        phrases = training
        if held_out:
            tested = parse_trees(members[TEST_MEMBER].decode(), TEST_MEMBER)
            phrases = {phrase: tested[phrase] for phrase in tested if phrase not in training}
    if classes == 2:
        phrases = {
            phrase: int(label > NEUTRAL) for phrase, label in phrases.items() if label != NEUTRAL
        }
    return list(phrases), np.array(list(phrases.values()), dtype=np.int64)


def hidden_size(model: str) -> int:
    """Length of the vectors of an encoder: `hidden_size` of the config.json in folder `model`.

    A model that is no folder is taken from the Hugging Face Hub, and has RoBERTa-base's 768.

    Raises: UserError if the folder has no such file or number.
    """
    if not Path(model).is_dir():
        return HIDDEN
    try:
        return int(json.loads(Path(model, "config.json").read_text("utf-8"))["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{model}/config.json gives no hidden_size ({error!r}). `model` of an SST dataset must "
            "be a folder as `save_pretrained` of transformers writes it, or a name on the Hub."
        ) from error


def random_vectors(phrases: Sequence[str], words: int) -> NDArray[np.float32]:
    """A stand-in for word vectors: float32 (n, words · 768), word by word, then zeros.

    Each word, which is what stands between two ASCII spaces, has a vector of standard normal
    numbers, seeded by the SHA-256 of the word: nothing is learned, and neither the other words nor
    the place in the phrase counts.
    """
    import numpy as np

    inputs = np.zeros((len(phrases), words, HIDDEN), dtype=np.float32)
    vectors: dict[str, NDArray[np.float32]] = {}
    for row, phrase in zip(inputs, phrases, strict=True):
        for position, word in enumerate(phrase.split(" ")[:words]):
            if word not in vectors:
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:16], "big")
                stream = np.random.Generator(np.random.PCG64(seed))
                vectors[word] = stream.standard_normal(HIDDEN, dtype=np.float32)
            row[position] = vectors[word]
    return inputs.reshape(len(phrases), words * HIDDEN)


class SST(DatasetSettings):
    """Embedded phrases: classes, positions and encoder."""

    name: ClassVar[str] = "sst"
    facts: ClassVar[Facts] = FACTS

    classes: Literal[2, 5] = Field(5, description="five sentiments or negative against positive")
    words: int = Field(32, description="positions of the embedded phrase", ge=1, le=512)
    model: str = Field(
        "FacebookAI/roberta-base",
        description="name of the RoBERTa model or its folder",
        min_length=1,
    )
    revision: str | None = Field(
        "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        description="commit of the model on the Hugging Face Hub",
        min_length=1,
    )
    # word: sub-word pieces averaged; piece: the sub-word pieces themselves
    tokens: Literal["word", "piece"] = Field("word", description="content of a position")
    # Stand-ins where no weights are available; never the paper's.
    encoder: Literal["roberta", "random", "hashed"] = Field(
        "roberta",
        description="roberta: the model; random: a fixed Gaussian vector for each word; "
        "hashed: token ids without embedding, for the network bert",
    )
    vocabulary: int = Field(30522, description="number of token ids with encoder: hashed", ge=4)

    @model_validator(mode="after")
    def _encoder_knows_pieces(self) -> Self:
        if self.encoder != "roberta" and self.tokens == "piece":
            raise ValueError(
                f"encoder is {self.encoder}, which has only whole words, but tokens is piece: "
                "take tokens: word, or encoder: roberta."
            )
        return self

    def packages(self) -> Mapping[str, str]:
        model = {"transformers": "sst"} if self.encoder == "roberta" else {}
        return {"nltk": "sst", **model}

    def input_shape(self) -> tuple[int, ...]:
        """(words, hidden size of the model); (words, 768) if random; (3, words + 2) for token ids.

        Raises: UserError if the model's folder has no config.json with a hidden_size.
        """
        if self.encoder == "hashed":
            return (ROWS, self.words + 2)
        return (self.words, hidden_size(self.model) if self.encoder == "roberta" else HIDDEN)

    def class_names(self) -> tuple[str, ...]:
        """From very negative to very positive, or negative and positive."""
        return CLASSES[self.classes]

    def size(self, held_out: bool = False) -> int:
        return (HELD_OUT if held_out else DISTINCT)[self.classes]

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """Every distinct phrase of the training trees, or of the test trees beyond those.

        Only those asked for are embedded. Inputs: float32, D = words · 768, word by word, zeros
        after the last word; token ids as `token_ids.hashed_ids` says.
        """
        phrases, labels = read_phrases(resources, self.classes, held_out)

        def inputs(rows: Integers) -> NDArray[np.float32] | NDArray[np.int32]:
            chosen = [phrases[row] for row in rows.tolist()]
            if self.encoder == "hashed":
                return hashed_ids(chosen, self.words, self.vocabulary)
            if self.encoder == "random":
                return random_vectors(chosen, self.words)
            from eosflow.datasets.embedding import embed_phrases  # costs seconds, for torch

            return embed_phrases(chosen, self, resources.cache)

        if self.encoder == "random":
            by = f"a standard normal vector of {HIDDEN} numbers for each word, always the same"
        elif self.encoder == "hashed":
            by = f"none: token ids, a hash of each word, below {self.vocabulary}"
        else:
            by = f"last hidden states of {self.model}, revision {self.revision}"
        trees = "test trees that no training tree has" if held_out else "training trees"
        return Pool(
            labels=labels,
            inputs=inputs,
            scale=1.0,
            preprocessing={
                "phrases": f"all nodes of the {trees}, each distinct phrase once, in order of "
                "appearance; tokens as published",
                "embedding": f"{by}; phrases cropped to {self.words} words, then zeros",
                "positions": "a word, its sub-word pieces averaged"
                if self.tokens == "word"
                else "a sub-word piece",
            },
        )
