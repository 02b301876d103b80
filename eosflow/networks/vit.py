"""A vision transformer: an image cut into patches, which attend to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from eosflow.networks import images
from eosflow.networks.base import Shape
from eosflow.storage.errors import needs

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch
    from torch import Tensor, nn

    from eosflow.networks.module import ModuleNetwork

WIDER = 4  # units of a block's hidden layer, over its width
INITIAL = 0.02  # standard deviation of the initial weights


class ViTSettings(images.ImageSettings):
    """Patches and a class token through blocks of attention and two dense layers, then a dense one.

    Each patch becomes a vector, to which one of its place is added; a block is x ← x + attention(
    norm(x)), x ← x + W₂ GELU(W₁ norm(x)), with 4 times as many hidden units as `width`; the class
    token's vector is classified. No dropout. Source: Dosovitskiy et al., ICLR 2021, as
    `transformers` has it: weights and vectors are drawn with standard deviation 0.02, biases are 0.
    """

    name: ClassVar[str] = "vit"

    patch: int = Field(4, description="pixels of a patch along each side", ge=1)
    width: int = Field(64, description="numbers of a patch's vector", ge=1)
    depth: int = Field(6, description="blocks", ge=1)
    heads: int = Field(4, description="attention heads of each block, which share the width", ge=1)

    def packages(self) -> Mapping[str, str]:
        return {"transformers": "sst"}

    def least_side(self) -> int:
        """A patch."""
        return self.patch

    def why_not(self, shape: Shape) -> str:
        """Empty for images that whole patches cover, and a width that the heads divide."""
        if problem := super().why_not(shape):
            return problem
        height, width = shape[1:]
        if height % self.patch or width % self.patch:
            return (
                f"its images are {height} × {width}, which patches of {self.patch} × {self.patch} "
                "do not cover. Set networks.vit.patch to a divisor of both."
            )
        if self.width % self.heads:
            return (
                f"{self.heads} heads cannot share a width of {self.width}. Set networks.vit.width "
                "to a multiple of networks.vit.heads."
            )
        return ""

    def _patches(self, shape: Shape) -> tuple[int, int]:
        return shape[1] // self.patch, shape[2] // self.patch

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P: patches, class token and places; per block attention, dense layers and two norms."""
        rows, columns = self._patches(shape)
        w, norm = self.width, 2 * self.width
        first = images.convolution(shape[0], w, self.patch) + (rows * columns + 2) * w
        hidden = images.dense(w, WIDER * w) + images.dense(WIDER * w, w)
        block = 4 * images.dense(w, w) + hidden + 2 * norm
        return first + self.depth * block + norm + images.dense(w, outputs)

    def describe(self) -> str:
        blocks = "1 block" if self.depth == 1 else f"{self.depth} blocks"
        heads = "1 head" if self.heads == 1 else f"{self.heads} heads"
        side = f"{self.patch} × {self.patch}"
        return f"ViT of {blocks} of width {self.width}, {heads}, patches of {side}"

    def build(self, shape: Shape, outputs: int) -> ModuleNetwork:
        with needs("transformers", "sst", "the network vit"):
            return _network(self, shape, outputs)


def _network(settings: ViTSettings, shape: Shape, outputs: int) -> ModuleNetwork:
    import torch
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from transformers import ViTConfig, ViTForImageClassification

    from eosflow.networks.module import ModuleNetwork, plain_layer_norms

    values: dict[str, Any] = {
        "image_size": shape[1:],
        "patch_size": settings.patch,
        "num_channels": shape[0],
        "num_labels": outputs,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.depth,
        "num_attention_heads": settings.heads,
        "intermediate_size": WIDER * settings.width,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        # Not "eager", which takes the softmax in float32 whatever the weights are in: second
        # derivatives are then good to seven digits, and differences of gradients to two.
        "attn_implementation": "sdpa",
    }

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # The library draws weights when it makes a module; nothing else may see that.
            with torch.random.fork_rng(devices=[]):
                self.model = ViTForImageClassification(ViTConfig(**values))
            plain_layer_norms(self.model)

        def forward(self, pictures: Tensor) -> Tensor:
            logits: Tensor = self.model(pictures).logits
            return logits

    class ViT(ModuleNetwork):
        def context(self) -> AbstractContextManager[None]:
            """PyTorch's plain attention: its fast ones have no second derivative."""
            return sdpa_kernel(SDPBackend.MATH)

        def numbers(self) -> int:
            """Numbers that the submodules put out, and what attention holds between them."""
            rows, columns = settings._patches(shape)
            tokens = rows * columns + 1
            inside = 2 * settings.heads * tokens**2 + tokens * settings.width
            return super().numbers() + settings.depth * inside

    return ViT(Logits().eval(), shape, _initialize)


def _initialize(module: nn.Module, stream: torch.Generator) -> None:
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, INITIAL, generator=stream)
        else:
            parameter.fill_(float("layernorm" in name and name.endswith("weight")))
