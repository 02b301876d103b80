"""The vision transformer: that of torch's own layers, in full precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from eosflow.networks.module import ModuleNetwork
from eosflow.networks.vit import ViTSettings

SHAPE = (2, 4, 6)  # two colours; six patches of 2 × 2 pixels
SETTINGS = ViTSettings(patch=2, width=4, depth=2, heads=2)
# Width 4, 2 heads, 16 hidden units, no dropout; its own weights are never used.
BLOCK = nn.TransformerEncoderLayer(
    4, 2, 16, 0.0, nn.functional.gelu, 1e-12, batch_first=True, norm_first=True
)


def torch_outputs(network: ModuleNetwork, theta: Tensor, inputs: Tensor) -> Tensor:
    """The outputs by torch.nn.TransformerEncoderLayer with the same weights."""
    # As transformers names them: PREFIX.layers.0.attention.q_proj.weight.
    found = {name.removeprefix("model."): value for name, value in network.named(theta).items()}
    vit = {name.removeprefix("vit."): value for name, value in found.items()}
    pictures = inputs.view(-1, *SHAPE)
    # Patches by hand: rows of patches from the top, in each the colours, then its pixels by rows.
    patches = pictures.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3)
    kernel = vit["embeddings.patch_embeddings.projection.weight"].flatten(1)
    tokens = patches.flatten(1, 2) @ kernel.T + vit["embeddings.patch_embeddings.projection.bias"]
    first = vit["embeddings.cls_token"].expand(len(tokens), -1, -1)
    tokens = torch.cat([first, tokens], 1) + vit["embeddings.position_embeddings"]
    for number in range(2):
        names = {"norm1": "layernorm_before", "norm2": "layernorm_after", "linear1": "mlp.fc1"}
        names |= {"linear2": "mlp.fc2", "self_attn.out_proj": "attention.o_proj"}
        given = {
            f"{to}.{kind}": vit[f"layers.{number}.{name}.{kind}"]
            for to, name in names.items()
            for kind in ("weight", "bias")
        }
        for kind in ("weight", "bias"):
            parts = [vit[f"layers.{number}.attention.{one}_proj.{kind}"] for one in "qkv"]
            given[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        with sdpa_kernel(SDPBackend.MATH):
            tokens = functional_call(BLOCK, given, (tokens,), strict=True)
    last = (vit["layernorm.weight"], vit["layernorm.bias"])
    top = nn.functional.layer_norm(tokens[:, 0], (4,), *last, 1e-12)
    return nn.functional.linear(top, found["classifier.weight"], found["classifier.bias"])


def test_it_is_that_of_torchs_own_layers_in_double_precision() -> None:
    stream = torch.Generator().manual_seed(0)
    network = SETTINGS.build(SHAPE, 3)
    theta = network.initialize(0)  # further from the start attention matters
    theta += 0.5 * torch.randn(len(theta), generator=stream, dtype=torch.float64)
    inputs = torch.randn(7, math.prod(SHAPE), generator=stream, dtype=torch.float64)
    expected = torch_outputs(network, theta, inputs).detach()
    actual = network.outputs(theta, inputs)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


def test_its_start_is_that_of_its_source() -> None:
    settings = ViTSettings()
    network = settings.build((3, 32, 32), 10)
    named = network.named(network.initialize(1))
    norms = {name for name in named if "layernorm" in name}
    assert len(norms) == 2 * (2 * settings.depth + 1)
    for name, value in named.items():
        if name.endswith("bias"):
            assert not value.any(), name
        elif name in norms:
            assert (value == 1).all(), name
        else:
            spread = 4 / math.sqrt(2 * value.numel())  # four standard errors
            assert value.std().item() == pytest.approx(0.02, rel=spread), name
