"""Phrases to word vectors by a pretrained RoBERTa, with a cache on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from eosflow.storage.digests import digest
from eosflow.storage.errors import needs
from eosflow.storage.files import set_aside, sha256
from eosflow.storage.hub import cached_or_fetched
from eosflow.storage.progress import count_progress
from eosflow.storage.tensors import DamagedFile, load_tensors, save_tensors

if TYPE_CHECKING:
    from eosflow.datasets.sst import SST

log = logging.getLogger(__name__)

BATCH = 64  # phrases that go through the model together
SHARD = 16  # batches between two writes to the cache
# Raise it when the numbers or the files change: older caches are then left alone.
EMBEDDING_VERSION = 2

Vectors = dict[str, NDArray[np.float32]]  # phrase -> (positions, hidden)


def embed_phrases(phrases: Sequence[str], settings: SST, cache: Path) -> NDArray[np.float32]:
    """Word vectors of each phrase, flattened: float32 (n, words · hidden); on the CPU.

    Of a phrase, the first `words` words go through the model; a position is a word (the mean of its
    sub-word pieces) or, with tokens: piece, one of the first `words` pieces. Positions after the
    last are zero. Source: Liu et al. 2019, arXiv:1907.11692. Only phrases that are not in `cache`
    are computed, and the model is loaded only for them. A damaged file there is moved aside.

    Raises: UserError if the model can neither be found nor fetched.
    """
    words = settings.words
    folder = cache / _cache_key(settings)
    vectors = _cached(folder, phrases)
    missing = sorted(set(phrases) - set(vectors), key=lambda phrase: (len(phrase), phrase))
    log.info("%d phrases: %d in %s, %d to embed", len(phrases), len(vectors), folder, len(missing))
    if missing:
        vectors.update(_embed(missing, settings, folder))
    hidden = next(iter(vectors.values())).shape[1]
    inputs = np.zeros((len(phrases), words, hidden), dtype=np.float32)
    for row, phrase in zip(inputs, phrases, strict=True):
        row[: len(vectors[phrase])] = vectors[phrase]
    return inputs.reshape(len(phrases), words * hidden)


def _cache_key(settings: SST) -> str:
    """A name for what the vectors depend on: the model's files or revision, and the treatment."""
    model = Path(settings.model)
    if model.is_dir():
        files = sorted(path for path in model.iterdir() if path.suffix in (".json", ".safetensors"))
        identity: Any = {path.name: sha256(path) for path in [*files, *model.glob("merges.txt")]}
    else:
        identity = [settings.model, settings.revision]
    return digest([EMBEDDING_VERSION, identity, settings.words, settings.tokens])


def _name(phrase: str) -> str:
    return hashlib.sha256(phrase.encode()).hexdigest()[:32]


def _cached(folder: Path, phrases: Sequence[str]) -> Vectors:
    wanted = {_name(phrase): phrase for phrase in phrases}
    vectors: Vectors = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            shard, _ = load_tensors(path)
        except DamagedFile as error:
            log.warning("%s: its phrases are embedded again", error)
            set_aside(path, "checksum")
            continue
        for name in shard.keys() & wanted.keys():
            vectors[wanted[name]] = shard[name].numpy()
    return vectors


def _embed(phrases: Sequence[str], settings: SST, folder: Path) -> Vectors:
    """Embed `phrases`, writing to the cache every SHARD batches, so that a stop loses little."""
    tokenizer, model = load_model(settings.model, settings.revision)
    vectors: Vectors = {}
    progress = count_progress("embedding", len(phrases), " phrases")
    for start in range(0, len(phrases), BATCH * SHARD):
        shard: Vectors = {}
        for first in range(start, min(start + BATCH * SHARD, len(phrases)), BATCH):
            batch = phrases[first : min(first + BATCH, start + BATCH * SHARD)]
            shard.update(zip(batch, encode(tokenizer, model, batch, settings), strict=True))
            progress.update(len(batch))
        named = {_name(phrase): torch.from_numpy(value) for phrase, value in shard.items()}
        save_tensors(folder / f"{digest(sorted(named))}.safetensors", named, {})
        vectors.update(shard)
    progress.close()
    return vectors


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
        states = model(**batch).last_hidden_state  # (batch, pieces, hidden)
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
