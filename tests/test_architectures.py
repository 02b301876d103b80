"""Tiny models of the library transformers are taken as they are, and their numbers are right."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import torch
from architectures import ARCHITECTURES, data_of, model_of
from conftest import ROOT
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import eosflow

# Of the whole computation in float64, and where a model rounds to float32 inside.
EXACT, ROUNDED = 1e-6, 1e-4


def product_of(
    own: eosflow.Problem, model: nn.Module, inputs: dict[str, Tensor], y: Tensor
) -> Callable[[Tensor], Tensor]:
    """v ↦ 𝓗v by plain double backward of the model itself, without the rows of padding."""
    model = model.double()
    for layer in model.modules():
        if isinstance(layer, nn.Embedding):
            layer.padding_idx = None
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    real = {n: x.double() if x.is_floating_point() else x for n, x in inputs.items()}
    numbers, start = {}, 0
    for name, parameter in named.items():
        numbers[name] = torch.arange(start, start + parameter.numel()).view(parameter.shape)
        start += parameter.numel()
    moving = torch.cat([own.network.flat(name, numbers[name]) for name in own.network.sizes])

    def slope(value: Tensor) -> Tensor:
        # Biases of keys and unused pooling layers move nothing.
        options = {"allow_unused": True, "materialize_grads": True, "create_graph": True}
        parts = torch.autograd.grad(value, list(named.values()), **options)
        return torch.cat([part.flatten() for part in parts])[moving]

    with sdpa_kernel(SDPBackend.MATH):
        gradient = slope(functional.cross_entropy(model(**real).logits, y))
    return lambda vector: slope(gradient @ vector).detach()


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_its_eigenpairs_are_those_of_the_models_own_hessian(name: str) -> None:
    inputs, labels = data_of(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        own = eosflow.Problem(model_of(name), "cross_entropy", {**inputs, "labels": labels})
    rounded = any("in float32" in str(warning.message) for warning in caught)
    assert rounded == own.network.part_single
    product, tolerance = (
        product_of(own, model_of(name), inputs, labels),
        ROUNDED if rounded else EXACT,
    )
    pairs = eosflow.eigenpairs(own, k=3, tolerance=EXACT)
    # That products are the same for any vector, and the search finds the top, makes them the top.
    chance = torch.randn(len(own.theta), 2, generator=torch.Generator().manual_seed(0)).double()
    ours = own.objective.evaluate(own.theta).hessian(chance)
    for index in range(2):
        expected = product(chance[:, index])
        assert (ours[:, index] - expected).norm() <= tolerance * expected.norm()
    for value, vector in zip(pairs.values, pairs.vectors.T, strict=True):
        image = product(vector)
        assert (vector @ image).item() == pytest.approx(value.item(), rel=tolerance, abs=1e-9)
        assert (image - value * vector).norm() <= 10 * tolerance * pairs.values[0]


def test_the_table_in_the_docs_names_them_all() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    lists = re.findall(r"^(Text|Images)[^:]*: ([^.]*)\.$", text, re.MULTILINE)
    named = {name: kind.lower() for kind, names in lists for name in re.split(r",\s+", names)}
    assert named == {name: kind for name, (kind, _) in ARCHITECTURES.items()}
