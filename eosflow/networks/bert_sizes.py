"""How large a BERT is, and where its weights come from."""

from __future__ import annotations

from pydantic import Field

from eosflow.storage.settings import Settings

ROWS = 3  # of an input: token ids, attention mask, token types
TYPES = 2  # token types: the first text of a pair and the second
EXPANSION = 4  # of a layer's dense part, over its width


class BERTSizes(Settings):
    """The settings of the network bert, see `eosflow.networks.bert`."""

    weights: str | None = Field(
        None,
        description="name or folder of pretrained weights; null: drawn by the run's seed",
        min_length=1,
    )
    revision: str | None = Field(
        None, description="commit of the weights on their hub; null: the newest", min_length=1
    )
    layers: int = Field(12, description="layers of attention", ge=1)
    width: int = Field(768, description="length of a token's vector", ge=1)
    heads: int = Field(12, description="attention heads of each layer; divide the width", ge=1)
    vocabulary: int = Field(30522, description="token ids that there are", ge=4)
    positions: int = Field(512, description="most tokens of an input", ge=2)
