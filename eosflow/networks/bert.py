"""BERT with a dense layer that classifies, from pretrained weights or drawn anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.networks.base import NetworkSettings, Reads, Shape
from eosflow.storage.errors import needs

if TYPE_CHECKING:
    from eosflow.networks.module import ModuleNetwork


ROWS = 3  # of an input: token ids, attention mask, token types
TYPES = 2  # token types: the first text of a pair and the second
EXPANSION = 4  # of a layer's dense part, over its width


class BERTSettings(NetworkSettings):
    """Layers of attention over tokens, a tanh layer on the first token's vector, a dense layer.

    The defaults are BERT base, uncased. An input is token ids, their attention mask and token
    types, (3, positions), as `eosflow.datasets.token_ids` makes them. There is no dropout, with
    which the loss would be no function of θ. `weights` are read by the library transformers; the
    other settings must then be theirs, and the last dense layer alone is drawn by the seed. Without
    weights all is: normal with deviation 0.02, biases 0. Source: Devlin et al. 2019.
    """

    name: ClassVar[str] = "bert"
    reads: ClassVar[Reads] = "token ids"

    weights: str | None = Field(
        None,
        description="name or folder of pretrained weights; null: drawn by the run's seed",
        min_length=1,
    )
    revision: str | None = Field(
        None,
        description="commit of the weights on the Hugging Face Hub; null: the newest",
        min_length=1,
    )
    layers: int = Field(12, description="layers of attention", ge=1)
    width: int = Field(768, description="length of a token's vector", ge=1)
    heads: int = Field(12, description="attention heads of each layer; divide the width", ge=1)
    vocabulary: int = Field(30522, description="number of token ids", ge=4)
    positions: int = Field(512, description="largest number of tokens of an input", ge=2)

    def packages(self) -> Mapping[str, str]:
        return {"transformers": "sst"}

    def why_not(self, shape: Shape) -> str:
        """Empty for token ids (3, positions), no more positions than there are."""
        if len(shape) != 2 or shape[0] != ROWS:
            return (
                f"an input has the shape {shape}, and this network reads token ids, attention mask "
                "and token types (3, positions), which docs/datasets.md says of datasets of texts "
                "that have them. Take one of these, or another network, such as mlp."
            )
        if shape[1] > self.positions:
            return (
                f"an input has {shape[1]} positions, and networks.bert.positions is "
                f"{self.positions}. Make that of the dataset smaller."
            )
        if self.width % self.heads:
            return (
                f"networks.bert: width {self.width} is no multiple of heads {self.heads}. Choose "
                "heads that divide it."
            )
        return ""

    def library_settings(self) -> dict[str, int]:
        """The sizes under the names that the library transformers has for them."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "intermediate_size": EXPANSION * self.width,
            "type_vocab_size": TYPES,
        }

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P: three tables of vectors, the layers, the tanh layer and the dense one."""
        w = self.width
        tables = (self.vocabulary + self.positions + TYPES) * w + 2 * w
        attention = 4 * (w * w + w) + 2 * w
        dense = 2 * EXPANSION * w * w + (EXPANSION + 1) * w + 2 * w
        return tables + self.layers * (attention + dense) + w * w + w + (w + 1) * outputs

    def describe(self) -> str:
        start = f"from {self.weights}" if self.weights else "random weights"
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        heads = "1 head" if self.heads == 1 else f"{self.heads} heads"
        return f"BERT of {layers}, width {self.width}, {heads}, {start}"

    def build(self, shape: Shape, outputs: int) -> ModuleNetwork:
        """The network itself.

        Raises: UserError if `transformers` is not installed, or if the weights are absent or
        of another size.
        """
        from eosflow.networks.bert_module import BERTNetwork

        with needs("transformers", "sst", "the network bert"):
            return BERTNetwork(self, shape, outputs)
