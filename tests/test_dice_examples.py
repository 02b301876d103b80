"""Contact sheets show the right examples in the right rows, unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eosflow.datasets import Resources
from eosflow.datasets.dice import Dice
from eosflow.datasets.subsets import load_subset, write_arrays, write_subset
from eosflow.results.figures import examples
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256, write_json

DICE = Dice(image_size=16, images_per_class=100)


@pytest.fixture
def dice_subset(tmp_path: Path) -> Path:
    path = tmp_path / "dice-subset0.npz"
    write_subset("dice", DICE, 0, 200, Resources(None, tmp_path), path)
    return path


def test_dice_examples_are_the_first_of_each_class(dice_subset):
    inputs, labels = load_subset(dice_subset, 200)
    figure = examples.dice_examples(dice_subset)
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert len(shown) == 60
    for label in range(6):
        expected = inputs[labels == label][:10].reshape(10, 16, 16)
        np.testing.assert_array_equal(shown[10 * label : 10 * label + 10], expected)
    names = [axes.get_ylabel() for axes in figure.axes[::10]]
    assert names == ["one", "two", "three", "four", "five", "six"]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"size": "many"}, "its size"), ({"kind": 5}, "its kind"), ({"kind": "x"}, "no dataset")],
)
def test_a_record_that_does_not_fit_is_named(dice_subset, change, words):
    record = dice_subset.with_suffix(".json")
    write_json(record, read_json(record) | change)
    with pytest.raises(UserError, match=rf"dice-subset0\.json .*damaged \(.*{words}"):
        examples.dice_examples(dice_subset)


def test_a_class_with_few_examples_leaves_places_empty(tmp_path, dice_subset):
    record = dice_subset.with_suffix(".json")
    with np.load(dice_subset) as arrays:
        few = {name: arrays[name][:12] for name in ("inputs", "labels", "indices")}
    write_arrays(tmp_path / "few.npz", {**few, "scale": np.float64(1 / 255)})
    fewer = {"size": 12, "sha256": sha256(tmp_path / "few.npz")}
    write_json(tmp_path / "few.json", read_json(record) | fewer)
    figure = examples.dice_examples(tmp_path / "few.npz")
    assert sum(len(axes.get_images()) for axes in figure.axes) == 12
