"""Tiny models of the library transformers are taken as they are, and their numbers are right."""

from __future__ import annotations

import re
import warnings

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


def dense(own: eosflow.Problem, model: nn.Module, inputs: dict[str, Tensor], y: Tensor) -> Tensor:
    """𝓗 by plain double backward of the model itself, without the rows of padding."""
    model = model.double()
    for layer in model.modules():
        if isinstance(layer, nn.Embedding):
            layer.padding_idx = None
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    real = {n: x.double() if x.is_floating_point() else x for n, x in inputs.items()}
    with sdpa_kernel(SDPBackend.MATH):
        loss = functional.cross_entropy(model(**real).logits, y)
        # Biases of keys and unused pooling layers move nothing.
        options = {"allow_unused": True, "materialize_grads": True}
        slopes = torch.autograd.grad(loss, list(named.values()), create_graph=True, **options)
        rows = []
        for entry in torch.cat([slope.flatten() for slope in slopes]):
            if entry.requires_grad:
                row = torch.autograd.grad(entry, list(named.values()), retain_graph=True, **options)
                rows.append(torch.cat([part.flatten() for part in row]))
            else:
                rows.append(torch.zeros(sum(p.numel() for p in named.values())).double())
    numbers, start = {}, 0
    for name, parameter in named.items():
        numbers[name] = torch.arange(start, start + parameter.numel()).view(parameter.shape)
        start += parameter.numel()
    moving = torch.cat([own.network.flat(name, numbers[name]) for name in own.network.sizes])
    return torch.stack(rows)[moving][:, moving]


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_its_eigenvalues_are_those_of_the_dense_hessian(name: str) -> None:
    inputs, labels = data_of(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        own = eosflow.Problem(model_of(name), "cross_entropy", {**inputs, "labels": labels})
    rounded = any("in float32" in str(warning.message) for warning in caught)
    assert rounded == own.network.part_single
    matrix = dense(own, model_of(name), inputs, labels)
    expected = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)[:3]
    pairs = eosflow.eigenpairs(own, k=3, tolerance=EXACT)
    tolerance = ROUNDED if rounded else EXACT
    torch.testing.assert_close(pairs.values, expected, rtol=tolerance, atol=1e-9)


def test_the_table_in_the_docs_names_them_all() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    lists = re.findall(r"^(Text|Images)[^:]*: ([^.]*)\.$", text, re.MULTILINE)
    named = {name: kind.lower() for kind, names in lists for name in re.split(r",\s+", names)}
    assert named == {name: kind for name, (kind, _) in ARCHITECTURES.items()}
