"""Three tasks of SuperGLUE, pairs of texts with two classes: BoolQ, WiC and RTE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from eosflow.datasets.base import Archive, DatasetSettings, Facts, Pool, Resources
from eosflow.datasets.token_ids import ROWS, pair_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.base import Integers

TRAINING_MEMBER, HELD_OUT_MEMBER = "train.jsonl", "val.jsonl"
BENCHMARK = "Wang et al. 2019, SuperGLUE"


def _facts(title: str, sha256: str, licence: str, citation: str) -> Facts:
    archive = Archive(
        name=f"{title}.zip",
        url=f"https://dl.fbaipublicfiles.com/glue/superglue/data/v2/{title}.zip",
        sha256=sha256,  # as the library datasets of Hugging Face lists it
    )
    return Facts(title, (archive,), licence, f"{citation}; {BENCHMARK}")


class SuperGLUE(DatasetSettings):
    """A task of pairs of texts: how long a pair may be, and whose tokenizer reads it.

    `texts` are the fields of a published row that hold its texts, the last of them the second text
    of the pair, and `labels` the published labels of the classes, in their order; `training` and
    `held_out` are the sizes of the splits `train` and `val`. The labels of `test` are not public.
    """

    texts: ClassVar[tuple[str, ...]]
    labels: ClassVar[tuple[Any, ...]]
    training: ClassVar[int]
    held_out: ClassVar[int]

    positions: int = Field(
        256,
        description="tokens of a pair including [CLS] and [SEP]; longer pairs are truncated",
        ge=8,
    )
    model: str = Field(
        "google-bert/bert-base-uncased",
        description="name or folder of the model whose tokenizer is used",
        min_length=1,
    )
    revision: str | None = Field(
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        description="commit of the model on the Hugging Face Hub",
        min_length=1,
    )

    def packages(self) -> Mapping[str, str]:
        return {"transformers": "sst"}

    def input_shape(self) -> tuple[int, ...]:
        """(3, positions): token ids, attention mask, token types."""
        return (ROWS, self.positions)

    def class_names(self) -> tuple[str, ...]:
        return tuple(str(label).lower() for label in self.labels)

    def size(self, held_out: bool = False) -> int:
        return self.held_out if held_out else self.training

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """The pairs of a split, in the order of its file; only those asked for become token ids."""
        import numpy as np

        member = HELD_OUT_MEMBER if held_out else TRAINING_MEMBER
        with resources.members(member) as members:
            pairs, labels = self._parse(members[member], member)

        def inputs(rows: Integers) -> NDArray[np.int32]:
            chosen = [pairs[row] for row in rows.tolist()]
            return pair_ids(chosen, self.positions, self.model, self.revision)

        return Pool(
            labels=np.array(labels, dtype=np.int64),
            inputs=inputs,
            scale=1.0,
            preprocessing={
                "pairs": f"{member}, in its order",
                "tokens": f"by the tokenizer of {self.model}, revision {self.revision}; cut to "
                f"{self.positions}, the longer text first",
                "input": "token ids, attention mask, token types",
            },
        )

    def _parse(self, content: bytes, name: str) -> tuple[list[tuple[str, str]], list[int]]:
        """Pairs and classes of a file of JSON lines. Raises: ValueError naming the line."""
        pairs: list[tuple[str, str]] = []
        labels: list[int] = []
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                row = json.loads(line)
                texts = [row[field] for field in self.texts]
                if not all(isinstance(text, str) for text in texts):
                    raise TypeError("a text is none")
                pairs.append((": ".join(texts[:-1]), texts[-1]))
                labels.append(self.labels.index(row["label"]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                reason = f"{type(error).__name__}: {error!s:.100}"
                raise ValueError(f"{name}, line {number} is no example: {reason}") from error
        return pairs, labels


class BoolQ(SuperGLUE):
    """BoolQ: does a passage answer a question with yes? The question comes first."""

    name: ClassVar[str] = "boolq"
    facts: ClassVar[Facts] = _facts(
        "BoolQ",
        "853fbe7922f70c59629f06a39e8d9ca440c3d740e760fd3b87a5ddf3dcba2436",
        "CC BY-SA 3.0",
        "Clark et al. 2019, BoolQ",
    )
    texts: ClassVar[tuple[str, ...]] = ("question", "passage")
    labels: ClassVar[tuple[Any, ...]] = (False, True)
    training: ClassVar[int] = 9427
    held_out: ClassVar[int] = 3270


class WiC(SuperGLUE):
    """WiC: has a word the same meaning in two sentences? The word stands before the first."""

    name: ClassVar[str] = "wic"
    facts: ClassVar[Facts] = _facts(
        "WiC",
        "ee7e67f4ae9eafbf533780faa198e62167f3cda54256cdf261877be3c0e90900",
        "CC BY-NC 4.0",
        "Pilehvar & Camacho-Collados 2019, WiC",
    )
    texts: ClassVar[tuple[str, ...]] = ("word", "sentence1", "sentence2")
    labels: ClassVar[tuple[Any, ...]] = (False, True)
    training: ClassVar[int] = 5428
    held_out: ClassVar[int] = 638


class RTE(SuperGLUE):
    """RTE: does a premise entail a hypothesis? The premise comes first."""

    name: ClassVar[str] = "rte"
    facts: ClassVar[Facts] = _facts(
        "RTE",
        "6310aab3f000424c9d0318a1ff20692e07c7f4aa15e8f17a5972ea0a35c398b9",
        "none stated by its authors; research use with citation",
        "Dagan et al. 2005, Bar-Haim et al. 2006, Giampiccolo et al. 2007, Bentivogli et al. 2009",
    )
    texts: ClassVar[tuple[str, ...]] = ("premise", "hypothesis")
    labels: ClassVar[tuple[Any, ...]] = ("entailment", "not_entailment")
    training: ClassVar[int] = 2490
    held_out: ClassVar[int] = 277
