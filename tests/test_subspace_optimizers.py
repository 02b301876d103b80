"""Nudged-, Dominant- and Bulk-SGD: the right subspace, the right factors, and nothing forgotten."""

from __future__ import annotations

import pytest
import torch
from oracles import dense_hessian
from problems import small_problem
from test_optimizers import CASES
from torch import Tensor, nn
from walks import steps_of, walked

from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers.augmentation import crop_and_flip
from eosflow.optimizers.batches import FullBatch, Shuffled
from eosflow.optimizers.subspace import BulkSGD, DominantSGD, NudgedSGD, SubspaceOptimizer
from eosflow.spectra.randomness import generator
from eosflow.storage.columns import types_of
from eosflow.storage.errors import UserError
from eosflow.studies.testbeds import quadratic


@pytest.fixture(scope="module")
def dense() -> tuple[Tensor, Tensor]:
    """The eigenvalues, rising, and eigenvectors of 𝓗 where the walks begin."""
    objective, theta = small_problem("cross_entropy")
    values, vectors = torch.linalg.eigh(dense_hessian(objective, "cross_entropy", theta))
    return values, vectors


@pytest.mark.parametrize(
    ("kind", "more", "inside", "outside"),
    [
        (NudgedSGD, {"gamma": 0.25}, 0.25, 1.0),
        (DominantSGD, {}, 1.0, 0.0),
        (BulkSGD, {}, 0.0, 1.0),
    ],
)
def test_the_subspace_is_that_of_the_dense_hessian_of_all_examples(
    kind: type[SubspaceOptimizer],
    more: dict[str, float],
    inside: float,
    outside: float,
    dense: tuple[Tensor, Tensor],
) -> None:
    objective, theta = small_problem("cross_entropy")
    optimizer = kind(k=4, eigen_tolerance=1e-8, learning_rate=0.1, **more)
    courses, sights = walked(objective, optimizer, theta, 6, Shuffled(size=5))
    # Three steps an epoch of 13 examples: found at the first and at the fourth.
    steps = [current.step for current in sights if current.step]
    assert [step.facts["power_iterations"] > 0 for step in steps] == [True, False, False] * 2
    values, vectors = dense
    top = vectors[:, -4:]
    for number in range(3):
        gradient = sights[number].evaluation.gradient
        part = top @ (top.T @ gradient)
        expected = -0.1 * (inside * part + outside * (gradient - part))
        moved = courses[number + 1].theta - courses[number].theta
        torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-10)
        known = [steps[number].facts[f"eigenvalue_{m}"] for m in range(1, 6)]
        assert known == pytest.approx(values.flip(0)[:5].tolist(), rel=1e-8)
        assert steps[number].facts["residual"] <= 1e-8
        assert steps[number].facts["converged"]
    assert steps[3].facts["eigenvalue_1"] != steps[2].facts["eigenvalue_1"]


def test_with_fewer_examples_it_is_that_of_the_first_of_them() -> None:
    objective, theta = small_problem("cross_entropy")
    sample = small_problem("cross_entropy")[0].batch(torch.arange(6))
    expected = torch.linalg.eigvalsh(dense_hessian(sample, "cross_entropy", theta)).flip(0)[:4]
    optimizer = BulkSGD(learning_rate=0.1, k=3, examples=6, eigen_tolerance=1e-8)
    for batches in (FullBatch(), Shuffled(size=4)):
        (step,) = steps_of(objective, optimizer, theta, 1, batches)
        known = [step.facts[f"eigenvalue_{m}"] for m in range(1, 5)]
        assert known == pytest.approx(expected.tolist(), rel=1e-8)


def test_by_magnitude_it_is_that_of_the_largest_absolute_eigenvalues(
    dense: tuple[Tensor, Tensor],
) -> None:
    objective, theta = small_problem("cross_entropy")
    values, vectors = dense
    order = values.abs().argsort(descending=True)
    assert (values[order[:6]] < 0).any()  # else the two would be the same
    optimizer = DominantSGD(learning_rate=0.1, k=5, which="magnitude", eigen_tolerance=1e-7)
    (step,) = steps_of(objective, optimizer, theta, 1)
    known = [step.facts[f"eigenvalue_{m}"] for m in range(1, 7)]
    assert known == pytest.approx(values[order[:6]].tolist(), rel=1e-6)
    top, gradient = vectors[:, order[:5]], objective.evaluate(theta).gradient
    moved = step.theta - theta
    torch.testing.assert_close(moved, -0.1 * top @ (top.T @ gradient), rtol=1e-5, atol=1e-9)


def test_fresh_examples_are_others_at_each_search_and_the_same_again() -> None:
    objective, theta = small_problem("cross_entropy")
    still = BulkSGD(learning_rate=1e-12, k=2, examples=6, every=1, eigen_tolerance=1e-8)
    fresh = still.model_copy(update={"sample": "fresh"})
    first, once, again = (
        [step.facts["eigenvalue_1"] for step in steps_of(objective, one, theta, 4)]
        for one in (still, fresh, fresh)
    )
    assert first == pytest.approx([first[0]] * 4, rel=1e-6)
    assert once == again and len({f"{value:.6g}" for value in once}) == 4
    largest = [
        torch.linalg.eigvalsh(dense_hessian(objective.batch(rows), "cross_entropy", theta))[-1]
        for rows in (
            torch.randperm(13, generator=generator(0, f"examples of search {search}"))[:6]
            for search in range(4)
        )
    ]
    assert once == pytest.approx([value.item() for value in largest], rel=1e-6)


def test_fresh_augmented_examples_are_cropped_and_flipped_and_need_images() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3)).double()
    network = ModuleNetwork(module, (3, 8, 8), lambda module, stream: None)
    inputs = torch.rand(9, 192, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = ModuleObjective(network, "cross_entropy", inputs, torch.arange(9) % 3)
    theta = network.initialize(0).double()
    optimizer = DominantSGD(
        learning_rate=0.1, k=1, examples=5, sample="fresh-augmented", eigen_tolerance=1e-8
    )
    (step,) = steps_of(objective, optimizer, theta, 1)
    rows = torch.randperm(9, generator=generator(0, "examples of search 0"))[:5]
    changed = crop_and_flip(inputs[rows].reshape(5, 3, 8, 8), rows, 9, 0, 0).reshape(5, 192)
    part = ModuleObjective(network, "cross_entropy", changed, (torch.arange(9) % 3)[rows])
    whole = part.evaluate(theta).hessian(torch.eye(len(theta), dtype=torch.float64))
    largest = torch.linalg.eigvalsh(whole)[-1].item()
    assert step.facts["eigenvalue_1"] == pytest.approx(largest, rel=1e-6)
    plain, start_ = small_problem("cross_entropy")
    with pytest.raises(UserError, match="fresh-augmented"):
        walked(plain, optimizer, start_, 1)


def test_a_search_cut_short_says_so() -> None:
    objective, theta = small_problem("cross_entropy")
    optimizer = BulkSGD(learning_rate=0.1, eigen_tolerance=1e-9, max_block_products=2)
    (step,) = steps_of(objective, optimizer, theta, 1)
    assert not step.facts["converged"]
    assert step.facts["residual"] > 1e-9
    assert step.facts["power_iterations"] == 2


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_where_the_curvature_is_not_finite_there_is_no_step(value: float) -> None:
    objective, theta = small_problem("cross_entropy")
    optimizer = BulkSGD(learning_rate=0.1)
    evaluation = objective.evaluate(theta)
    evaluation.hessian = lambda block, out: out.fill_(value)
    assert optimizer.step(evaluation, optimizer.init(objective, theta, 0)) is None


@pytest.mark.parametrize(
    "optimizer",
    [case for case in CASES if isinstance(case, SubspaceOptimizer)],
    ids=lambda item: item.describe(),
)
def test_the_costs_cover_a_search(optimizer: SubspaceOptimizer) -> None:
    objective, theta = small_problem("cross_entropy")
    vectors = [s.facts["power_iterations"] for s in steps_of(objective, optimizer, theta, 40)[1:]]
    products = (optimizer.k + 1) * sum(vectors) / len(vectors)
    assert 0 < products <= optimizer.products_per_step(4)


def test_more_directions_than_parameters_are_all_of_them() -> None:
    objective, optimizer = quadratic((3.0, 1.0)), DominantSGD(learning_rate=0.1, k=5)
    (step,) = steps_of(objective, optimizer, objective.network.initialize(0), 1)
    assert step.theta.tolist() == pytest.approx([0.7, 0.9], rel=1e-12)
    assert step.facts.keys() == types_of(optimizer.columns(2, 1)).keys()
