"""BERT of the library transformers as a function of one flat parameter vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eosflow.networks.base import Shape
from eosflow.networks.module import ModuleNetwork, plain_layer_norms
from eosflow.storage.errors import UserError
from eosflow.storage.hub import cached_or_fetched

if TYPE_CHECKING:
    from eosflow.networks.bert import BERTSettings

DEVIATION = 0.02  # of weights that are drawn; Devlin et al. 2019


class BERTNetwork(ModuleNetwork):
    """z (N, C) of token ids (N, 3 · positions), which are whole numbers stored as real ones.

    Raises: UserError if pretrained weights are absent or of another size than the settings.
    """

    def __init__(self, settings: BERTSettings, shape: Shape, outputs: int) -> None:
        # The library draws weights when it makes a module; nothing else may see that.
        with torch.random.fork_rng(devices=[]):
            model = _pretrained(settings, outputs) if settings.weights else _new(settings, outputs)
        plain_layer_norms(model)
        self._settings = settings
        drawn = _draw_head if settings.weights else _draw
        super().__init__(_Classifier(model), shape, drawn)

    def numbers(self) -> int:
        """Numbers that the submodules put out, and what attention holds between them."""
        tokens = self.shape[1]
        inside = 2 * self._settings.heads * tokens**2 + tokens * self._settings.width
        return super().numbers() + self._settings.layers * inside

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises: UserError if inputs (N, D) hold ids that the network has no vectors for."""
        ids = inputs.reshape(len(inputs), *self.shape)[:, 0]
        if (largest := int(ids.max())) >= self._settings.vocabulary or ids.min() < 0:
            raise UserError(
                f"The inputs hold the token id {largest}, and networks.bert.vocabulary is "
                f"{self._settings.vocabulary}: ids are from 0 to one less. Set it to the size of "
                "the tokenizer's vocabulary."
            )


class _Classifier(nn.Module):
    """Inputs (N, 3, positions) ↦ outputs (N, C)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        ids, mask, types = inputs.long().unbind(1)
        # Added to the scores of all heads and queries, so that padding gets no attention. The
        # library's own way from a mask of zeros and ones looks at its values, which vmap forbids.
        shut = torch.zeros(mask.shape, dtype=_dtype(self), device=mask.device)
        shut = shut.masked_fill(mask == 0, torch.finfo(shut.dtype).min)[:, None, None, :]
        logits: Tensor = self.model(ids, attention_mask=shut, token_type_ids=types).logits
        return logits


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


# Attention by plain matrix products, which can be differentiated twice; no dropout.
_FIXED: dict[str, Any] = {
    "attn_implementation": "eager",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": 0.0,
}


def _new(settings: BERTSettings, outputs: int) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes: dict[str, Any] = {**settings.library_settings(), "num_labels": outputs}
    config = BertConfig(**sizes, **_FIXED)
    model: nn.Module = BertForSequenceClassification(config)
    return model.eval()


def _pretrained(settings: BERTSettings, outputs: int) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification
    from transformers.utils import logging

    weights = str(settings.weights)

    def load(**where: Any) -> nn.Module:
        config = BertConfig.from_pretrained(weights, num_labels=outputs, **_FIXED, **where)
        _compare(settings, config)
        model: nn.Module = BertForSequenceClassification.from_pretrained(
            weights,
            config=config,
            use_safetensors=True,
            dtype=torch.float32,  # as published; θ is float64
            **where,
        )
        return model.eval()

    # Its progress bar, and its remark that the last layer is new, which is meant.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        return cached_or_fetched(
            load, weights, settings.revision, "weights", "networks.bert.weights"
        )
    finally:
        logging.set_verbosity(level)


def _compare(settings: BERTSettings, config: Any) -> None:
    """Raises: UserError if the weights are of another network than the settings say."""
    names = ("layers", "width", "heads", "vocabulary", "positions")
    expected = settings.library_settings() | {"model_type": "bert", "hidden_act": "gelu"}
    own = dict(zip(expected, names, strict=False))
    wrong = [
        f"{own.get(name, name)} is {value} and theirs {getattr(config, name)}"
        for name, value in expected.items()
        if getattr(config, name) != value
    ]
    if wrong:
        raise UserError(
            f"networks.bert: {settings.weights} is another network than the settings say: "
            f"{', '.join(wrong)}. Set these as the weights have them; what is no setting must be "
            "as in BERT base."
        )


def _draw(module: nn.Module, stream: torch.Generator) -> None:
    """All anew: normal weights, biases 0, normalisations 1 and 0, the vector of padding 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.normal_(0, DEVIATION, generator=stream)
        if isinstance(part, nn.LayerNorm):
            part.weight.fill_(1)
        if isinstance(part, nn.Linear | nn.LayerNorm):
            part.bias.zero_()
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            part.weight[part.padding_idx].zero_()


def _draw_head(module: nn.Module, stream: torch.Generator) -> None:
    """The last dense layer anew; all else stays what it is."""
    head = module.get_submodule("model.classifier")
    assert isinstance(head, nn.Linear)
    head.weight.normal_(0, DEVIATION, generator=stream)
    head.bias.zero_()
