"""Architectures of the library transformers, tiny and with random weights, and their data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

N, T, VOCABULARY = 5, 5, 11
# Of all families of text; each takes those it knows, under its own names.
TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "num_labels": 2,
}
GPT2 = {"n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 8, "n_inner": 6}
IMAGES: dict[str, Any] = {
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "num_labels": 2,
}
STAGES = {"hidden_sizes": [4, 4], "depths": [1, 1]}

# The model type: of text or of images, and the settings that are its own.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "albert": ("text", {"embedding_size": 4}),
    "bert": ("text", {}),
    "big_bird": ("text", {"attention_type": "original_full"}),
    "biogpt": ("text", {}),
    "bloom": ("text", {"n_layer": 1, "n_head": 2}),
    "camembert": ("text", {}),
    "convbert": ("text", {"embedding_size": 4, "head_ratio": 1}),
    "deberta": ("text", {}),
    "deberta-v2": ("text", {}),
    "distilbert": ("text", {"dim": 4, "n_layers": 1, "n_heads": 2, "hidden_dim": 6}),
    "electra": ("text", {"embedding_size": 4}),
    "ernie": ("text", {}),
    "falcon": ("text", {"head_dim": None}),
    "gemma": ("text", {}),
    "gemma2": ("text", {"query_pre_attn_scalar": 2}),
    "gpt2": ("text", GPT2),
    "gpt_neo": ("text", {"num_layers": 1, "num_heads": 2, "attention_types": [[["global"], 1]]}),
    "gpt_neox": ("text", {}),
    "gptj": ("text", {**GPT2, "rotary_dim": 2}),
    "llama": ("text", {}),
    "mistral": ("text", {}),
    "modernbert": ("text", {}),
    "mpnet": ("text", {}),
    "opt": ("text", {"ffn_dim": 6, "word_embed_proj_dim": 4}),
    "phi3": ("text", {}),
    "qwen2": ("text", {}),
    "qwen3": ("text", {}),
    "roberta": ("text", {}),
    "roformer": ("text", {"embedding_size": 4}),
    "squeezebert": ("text", {"embedding_size": 4, "q_groups": 1, "k_groups": 1, "v_groups": 1,
                             "post_attention_groups": 1, "intermediate_groups": 1,
                             "output_groups": 1}),
    "stablelm": ("text", {}),
    "xlm-roberta": ("text", {}),
    "convnext": ("images", {**STAGES, "num_stages": 2, "patch_size": 2}),
    "dinov2": ("images", {}),
    "poolformer": ("images", {"hidden_sizes": [4], "depths": [1], "num_encoder_blocks": 1,
                              "patch_sizes": [3], "strides": [2], "padding": [1]}),
    "resnet": ("images", {**STAGES, "embedding_size": 4}),
    "swin": ("images", {"hidden_size": None, "num_attention_heads": None, "patch_size": 2,
                        "num_hidden_layers": None, "embed_dim": 4, "depths": [1],
                        "num_heads": [2], "window_size": 2}),
    "vit": ("images", {}),
}  # fmt: skip


def model_of(name: str) -> nn.Module:
    """The model in evaluation mode, with random weights that are not nearly 0."""
    from transformers import (
        AutoConfig,
        AutoModelForImageClassification,
        AutoModelForSequenceClassification,
    )

    kind, settings = ARCHITECTURES[name]
    base, auto = {
        "text": (TEXT, AutoModelForSequenceClassification),
        "images": (IMAGES, AutoModelForImageClassification),
    }[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        given = {key: value for key, value in {**base, **settings}.items() if value is not None}
        model: nn.Module = auto.from_config(AutoConfig.for_model(name, **given))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def data_of(name: str) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs by name, with padding where they are of text, and labels."""
    stream = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % 2
    if ARCHITECTURES[name][0] == "images":
        return {"pixel_values": torch.randn(N, 1, 8, 8, generator=stream)}, labels
    ids = torch.randint(3, VOCABULARY, (N, T), generator=stream)
    ids[1, -2:] = ids[4, -1:] = 0
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}, labels
