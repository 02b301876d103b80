"""BERT: that of transformers called its own way, twice differentiable, from weights or a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eosflow import objectives
from eosflow.networks.bert import BERTSettings
from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.base import Objective
from eosflow.storage.errors import UserError

SMALL = BERTSettings(layers=2, width=8, heads=2, vocabulary=20, positions=9)
LENGTHS = (7, 4, 2, 5)


def settings_from(weights: Path | str) -> BERTSettings:
    return SMALL.model_copy(update={"weights": str(weights)})


def token_ids(positions: int = 7) -> Tensor:
    """Four pairs of texts of different lengths, with padding after them."""
    stream = torch.Generator().manual_seed(0)
    inputs = torch.zeros(len(LENGTHS), 3, positions, dtype=torch.float64)
    for row, length in zip(inputs, LENGTHS, strict=True):
        row[0, :length] = torch.randint(1, SMALL.vocabulary, (length,), generator=stream).double()
        row[1, :length] = 1
        row[2, length // 2 : length] = 1
    return inputs


def problem(settings: BERTSettings = SMALL) -> tuple[ModuleNetwork, Objective, Tensor]:
    network = settings.build((3, 7), 2)
    theta = network.initialize(0)
    theta += 0.2 * torch.randn(
        len(theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    labels = torch.tensor([0, 1, 1, 0])
    objective = objectives.make(network, "cross_entropy", token_ids().flatten(1), labels)
    return network, objective, theta


def config_of(settings: BERTSettings, **changes: Any) -> Any:
    from transformers import BertConfig

    values = {
        "vocab_size": settings.vocabulary, "hidden_size": settings.width,
        "num_hidden_layers": settings.layers, "num_attention_heads": settings.heads,
        "intermediate_size": 4 * settings.width, "max_position_embeddings": settings.positions,
    }  # fmt: skip
    return BertConfig(**(values | changes))


def saved(folder: Path, **changes: Any) -> dict[str, Tensor]:
    """Pretrained weights in a folder, without the layer that classifies, as published."""
    from transformers import BertModel

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = BertModel(config_of(SMALL, **changes))
    model.save_pretrained(folder)
    return {name: value.double() for name, value in model.state_dict().items()}


def test_its_outputs_are_those_of_the_library_called_its_own_way() -> None:
    from transformers import BertForSequenceClassification

    network, _, theta = problem()
    # Its fast attention, and a mask of zeros and ones.
    model = BertForSequenceClassification(config_of(SMALL, num_labels=2)).double().eval()
    named = {name.removeprefix("model."): value for name, value in network.named(theta).items()}
    model.load_state_dict(named)
    ids, mask, types = token_ids().long().unbind(1)
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, token_type_ids=types).logits
    outputs = network.outputs(theta, token_ids().flatten(1))
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-12)


def test_padding_does_not_matter() -> None:
    network, _, theta = problem()
    longer = SMALL.build((3, 9), 2)
    torch.testing.assert_close(
        longer.outputs(theta, token_ids(9).flatten(1)),
        network.outputs(theta, token_ids(7).flatten(1)),
        rtol=1e-12,
        atol=1e-14,
    )
    other = token_ids(9)
    other[:, 0, 8] = 5  # a word where the mask says that there is none
    same = longer.outputs(theta, token_ids(9).flatten(1))
    torch.testing.assert_close(longer.outputs(theta, other.flatten(1)), same)


def test_the_parameters_are_those_of_bert_base() -> None:
    # As the library counts BertModel of bert-base-uncased, and two outputs of 768 weights.
    assert BERTSettings().parameters((3, 256), 2) == 109_482_240 + 2 * 769


def test_random_weights_are_the_seeds_alone() -> None:
    settings = BERTSettings(layers=1, width=40, heads=4, vocabulary=100, positions=8)
    first = settings.build((3, 7), 2)
    theta = first.initialize(1)
    named, other = first.named(theta), first.named(first.initialize(2))
    for name, value in named.items():
        kind = name.rpartition(".")[2]
        if "LayerNorm" in name:
            assert torch.equal(value, torch.full_like(value, float(kind == "weight")))
        elif kind == "bias":
            assert not value.any()
        else:
            assert not torch.equal(value, other[name])
    assert named["model.bert.encoder.layer.0.intermediate.dense.weight"].std().item() == (
        pytest.approx(0.02, rel=0.05)
    )


def test_pretrained_weights_are_kept_and_the_last_layer_is_the_seeds(tmp_path: Path) -> None:
    weights = saved(tmp_path / "model")
    before = torch.random.get_rng_state()
    network, objective, _ = problem(settings_from(tmp_path / "model"))
    assert torch.equal(torch.random.get_rng_state(), before)
    first, second = (network.named(network.initialize(seed)) for seed in (1, 2))
    for name, value in weights.items():
        assert torch.equal(first[f"model.bert.{name}"], value)
        assert torch.equal(second[f"model.bert.{name}"], value)
    head = "model.classifier.weight"
    assert not torch.equal(first[head], second[head])
    assert set(first) - {f"model.bert.{name}" for name in weights} == {
        head,
        "model.classifier.bias",
    }
    assert objective.evaluate(network.initialize(1)).loss == pytest.approx(0.69, abs=0.05)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "wide", vocab_size=30, intermediate_size=16)
    with pytest.raises(UserError, match=r"vocabulary is 20 and theirs 30.* Set these"):
        settings_from(tmp_path / "wide").build((3, 7), 2)
    saved(tmp_path / "flat", intermediate_size=16)
    with pytest.raises(UserError, match="intermediate_size is 32 and theirs 16"):
        settings_from(tmp_path / "flat").build((3, 7), 2)


def test_weights_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    config_of(SMALL).save_pretrained(tmp_path)
    for weights in (tmp_path, tmp_path / "nowhere", "nobody/no-such-model"):
        with pytest.raises(UserError, match=r"could not be loaded: .*\n.*networks\.bert\.weights"):
            settings_from(weights).build((3, 7), 2)


def test_what_it_cannot_read_is_refused() -> None:
    inputs = token_ids().flatten(1)
    inputs[1, 2] = 20
    with pytest.raises(UserError, match=r"the token id 20, and networks\.bert\.vocabulary is 20"):
        objectives.make(SMALL.build((3, 7), 2), "cross_entropy", inputs, torch.tensor([0, 1, 1, 0]))
