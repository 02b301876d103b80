"""Texts as token ids: the numbers of words or pieces of words, which a network such as BERT reads.

An input has the shape (3, positions): the ids, then 1 for each token and 0 for padding (the
attention mask), then the token types, 0 in the first text of a pair and 1 in the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eosflow.storage.errors import needs
from eosflow.storage.hub import cached_or_fetched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROWS = 3
# Ids of `hashed_ids` that are no words.
PADDING, START, END = 0, 1, 2


def pair_ids(
    pairs: Sequence[tuple[str, str]], positions: int, model: str, revision: str | None
) -> NDArray[np.int32]:
    """Pairs of texts by the tokenizer of a model: int32 (n, 3 · positions).

    As BERT reads them, [CLS] first [SEP] second [SEP]. Where that is longer than `positions`, the
    longer of the two texts loses its last tokens. Source: Devlin et al. 2019, arXiv:1810.04805.

    Raises: UserError if the tokenizer can neither be found nor fetched.
    """
    import numpy as np

    tokenizer = load_tokenizer(model, revision)
    batch = tokenizer(
        [first for first, _ in pairs],
        [second for _, second in pairs],
        padding="max_length",
        truncation="longest_first",
        max_length=positions,
        return_attention_mask=True,
        return_token_type_ids=True,
        return_tensors="np",
    )
    rows = [batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
    return np.stack(rows, axis=1).reshape(len(pairs), ROWS * positions).astype(np.int32)


def load_tokenizer(model: str, revision: str | None) -> Any:
    """The tokenizer in folder `model` or of that name on the Hugging Face Hub.

    What was fetched once is found again without a network.

    Raises: UserError if it can neither be found nor fetched, or knows no words, or if
    `transformers` is not installed.
    """
    with needs("transformers", "sst", "the tokenizer"):
        from transformers import AutoTokenizer

    def load(**where: Any) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False, **where)
        # Without its vocabulary's file a tokenizer is made all the same.
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ValueError("its tokenizer has only special tokens")
        return tokenizer

    return cached_or_fetched(load, model, revision, "tokenizer", "model")


def hashed_ids(phrases: Sequence[str], words: int, vocabulary: int) -> NDArray[np.int32]:
    """Phrases without a tokenizer: int32 (n, 3 · (words + 2)), one id for each word.

    1, the ids of the first `words` words, 2, then zeros. A word, which is what stands between two
    ASCII spaces, has the id 3 + (its SHA-256 mod (vocabulary − 3)), so that different words may
    share one. All token types are 0. Source: feature hashing, Weinberger et al. 2009.
    """
    import numpy as np

    inputs = np.zeros((len(phrases), ROWS, words + 2), dtype=np.int32)
    for row, phrase in zip(inputs, phrases, strict=True):
        ids = [START, *(_hashed(word, vocabulary) for word in phrase.split(" ")[:words]), END]
        row[0, : len(ids)] = ids
        row[1, : len(ids)] = 1
    return inputs.reshape(len(phrases), -1)


def _hashed(word: str, vocabulary: int) -> int:
    first = END + 1
    digest = int.from_bytes(hashlib.sha256(word.encode()).digest()[:16], "big")
    return first + digest % (vocabulary - first)
