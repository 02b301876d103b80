"""Three tasks of SuperGLUE, pairs of texts with two classes: BoolQ, WiC and RTE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from eosflow.datasets.archives import UnfitArchive, read_members
from eosflow.datasets.base import Archive, DatasetSettings, Facts
from eosflow.datasets.pool import Pool, Resources
from eosflow.datasets.token_ids import ROWS, pair_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.pool import Integers

TRAINING_MEMBER, HELD_OUT_MEMBER = "train.jsonl", "val.jsonl"
BENCHMARK = "Wang et al. 2019, SuperGLUE"


def _facts(title: str, sha256: str, licence: str, citation: str) -> Facts:
    archive = Archive(
        name=f"{title}.zip",
        urls=(f"https://dl.fbaipublicfiles.com/glue/superglue/data/v2/{title}.zip",),
        sha256=sha256,  # as the library datasets of Hugging Face lists it
        size_limit=64 * 2**20,
    )
    return Facts(title, (archive,), licence, f"{citation}; {BENCHMARK}")


class SuperGLUE(DatasetSettings):
    """A task of pairs of texts: how long a pair may be, and whose tokenizer reads it.

    `labels` are the published labels of the classes, in their order; `training` and `held_out` the
    sizes of the splits `train` and `val`. The labels of the split `test` are not public.
    """

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

    @classmethod
    def pair(cls, row: Mapping[str, Any]) -> tuple[Any, Any]:
        """The two texts of a published row. Raises: KeyError if it lacks one."""
        raise NotImplementedError

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

        assert resources.archive is not None  # the facts list one archive
        member = HELD_OUT_MEMBER if held_out else TRAINING_MEMBER
        pairs, labels = self._read(resources.archive, member)

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

    def _read(self, archive: Path, member: str) -> tuple[list[tuple[str, str]], list[int]]:
        """Pairs and classes of one file of JSON lines. Raises: UnfitArchive naming the line."""
        content = read_members(archive, [member])[member]
        pairs: list[tuple[str, str]] = []
        labels: list[int] = []
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                row = json.loads(line)
                first, second = self.pair(row)
                label = row["label"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UnfitArchive(
                    f"{archive}: {member}, line {number} is no example of {self.facts.title} "
                    f"({type(error).__name__}: {error!s:.100})"
                ) from error
            if not (_is_text(first) and _is_text(second)):
                raise UnfitArchive(f"{archive}: {member}, line {number}: a text is none")
            # By type too: 0 and 1 are equal to false and true.
            if (type(label), label) not in [(type(known), known) for known in self.labels]:
                allowed = ", ".join(json.dumps(known) for known in self.labels)
                raise UnfitArchive(
                    f"{archive}: {member}, line {number}: label {label!r:.60}, expected {allowed}"
                )
            pairs.append((first, second))
            labels.append(self.labels.index(label))
        return pairs, labels


def _is_text(value: Any) -> bool:
    """Whether it is text that can be written down; JSON also has halves of a character."""
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


class BoolQ(SuperGLUE):
    """BoolQ: does a passage answer a question with yes? The question comes first."""

    name: ClassVar[str] = "boolq"
    facts: ClassVar[Facts] = _facts(
        "BoolQ",
        "853fbe7922f70c59629f06a39e8d9ca440c3d740e760fd3b87a5ddf3dcba2436",
        "CC BY-SA 3.0",
        "Clark et al. 2019, BoolQ",
    )
    labels: ClassVar[tuple[Any, ...]] = (False, True)
    training: ClassVar[int] = 9427
    held_out: ClassVar[int] = 3270

    @classmethod
    def pair(cls, row: Mapping[str, Any]) -> tuple[Any, Any]:
        """The question and the passage."""
        return row["question"], row["passage"]


class WiC(SuperGLUE):
    """WiC: has a word the same meaning in two sentences? The word stands before the first."""

    name: ClassVar[str] = "wic"
    facts: ClassVar[Facts] = _facts(
        "WiC",
        "ee7e67f4ae9eafbf533780faa198e62167f3cda54256cdf261877be3c0e90900",
        "CC BY-NC 4.0",
        "Pilehvar & Camacho-Collados 2019, WiC",
    )
    labels: ClassVar[tuple[Any, ...]] = (False, True)
    training: ClassVar[int] = 5428
    held_out: ClassVar[int] = 638

    @classmethod
    def pair(cls, row: Mapping[str, Any]) -> tuple[Any, Any]:
        """`word: first sentence` and the second sentence."""
        word, first = row["word"], row["sentence1"]
        return f"{word}: {first}" if _is_text(word) and _is_text(first) else None, row["sentence2"]


class RTE(SuperGLUE):
    """RTE: does a premise entail a hypothesis? The premise comes first."""

    name: ClassVar[str] = "rte"
    facts: ClassVar[Facts] = _facts(
        "RTE",
        "6310aab3f000424c9d0318a1ff20692e07c7f4aa15e8f17a5972ea0a35c398b9",
        "none stated by its authors; research use with citation",
        "Dagan et al. 2005, Bar-Haim et al. 2006, Giampiccolo et al. 2007, Bentivogli et al. 2009",
    )
    labels: ClassVar[tuple[Any, ...]] = ("entailment", "not_entailment")
    training: ClassVar[int] = 2490
    held_out: ClassVar[int] = 277

    @classmethod
    def pair(cls, row: Mapping[str, Any]) -> tuple[Any, Any]:
        """The premise and the hypothesis."""
        return row["premise"], row["hypothesis"]
