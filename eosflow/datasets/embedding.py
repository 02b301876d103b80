"""Phrases to word vectors by a pretrained RoBERTa."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from eosflow.storage.errors import needs
from eosflow.storage.hub import cached_or_fetched
from eosflow.storage.progress import count_progress

if TYPE_CHECKING:
    from eosflow.datasets.sst import SST

BATCH = 64  # phrases that go through the model together


def embed_phrases(phrases: Sequence[str], settings: SST) -> NDArray[np.float32]:
    """Word vectors of each phrase, flattened: float32 (n, words · hidden); on the CPU.

    Of a phrase, the first `words` words go through the model; a position is a word (the mean of its
    sub-word pieces) or, with tokens: piece, one of the first `words` pieces. Positions after the
    last are zero. Source: Liu et al. 2019, arXiv:1907.11692.

    Raises: UserError if the model can neither be found nor fetched.
    """
    words = settings.words
    tokenizer, model = load_model(settings.model, settings.revision)
    distinct = sorted(set(phrases), key=lambda phrase: (len(phrase), phrase))
    vectors: dict[str, NDArray[np.float32]] = {}  # phrase -> (positions, hidden)
    progress = count_progress("embedding", len(distinct), " phrases")
    for start in range(0, len(distinct), BATCH):
        batch = distinct[start : start + BATCH]
        vectors.update(zip(batch, encode(tokenizer, model, batch, settings), strict=True))
        progress.update(len(batch))
    progress.close()
    hidden = vectors[distinct[0]].shape[1]
    inputs = np.zeros((len(phrases), words, hidden), dtype=np.float32)
    for row, phrase in zip(inputs, phrases, strict=True):
        row[: len(vectors[phrase])] = vectors[phrase]
    return inputs.reshape(len(phrases), words * hidden)


def load_model(model: str, revision: str | None) -> tuple[Any, Any]:
    """The tokenizer and encoder in folder `model` or of that name on the Hugging Face Hub.

    Only safetensors weights are read, and no code of the model's is run. What was fetched once is
    found again without a network.

    Raises: UserError if it can neither be found nor fetched, or if `transformers` is not
    installed.
    """
    with needs("transformers", "sst", "the encoder"):
        from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    # for reading weights into memory; downloads keep theirs
    disable_progress_bar()  # type: ignore[no-untyped-call]

    def load(**where: Any) -> tuple[Any, Any]:
        tokenizer = AutoTokenizer.from_pretrained(model, add_prefix_space=True, **where)
        encoder = AutoModel.from_pretrained(
            model,
            use_safetensors=True,
            add_pooling_layer=False,
            trust_remote_code=False,
            dtype=torch.float32,
            **where,
        )
        return tokenizer, encoder.eval()

    return cached_or_fetched(load, model, revision, "model", "datasets.sst.model")


def encode(
    tokenizer: Any, model: Any, phrases: Sequence[str], settings: SST
) -> list[NDArray[np.float32]]:
    """Vectors (positions, hidden) of a batch of phrases; each is the same in any batch."""
    words = settings.words
    tokens = [phrase.split(" ")[:words] for phrase in phrases]  # at the ASCII space alone
    batch = tokenizer(tokens, is_split_into_words=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch.to(model.device)).last_hidden_state.cpu()  # (batch, pieces, hidden)
    vectors = []
    for row, state in enumerate(states):
        # word_ids: the word that each piece is of, None for the markers and the padding
        ids = batch.word_ids(row)
        pieces = [position for position, word in enumerate(ids) if word is not None]
        if settings.tokens == "piece":
            vectors.append(state[pieces[:words]].numpy().copy())
            continue
        of = torch.tensor([ids[position] for position in pieces])
        sums = torch.zeros(len(tokens[row]), state.shape[1]).index_add_(0, of, state[pieces])
        counts = torch.bincount(of, minlength=len(tokens[row])).unsqueeze(1)
        vectors.append((sums / counts.clamp(min=1)).numpy())
    return vectors
