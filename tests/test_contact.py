"""Contact sheets show the right examples in the right rows, unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_archives import atrial_zip

from eosflow.datasets import Resources
from eosflow.datasets.atrialfibrillation import AtrialFibrillation
from eosflow.datasets.dice import Dice
from eosflow.datasets.subsets import load_subset, write_arrays, write_subset
from eosflow.datasets.table import Table
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
    for figure in (examples.dice_examples(dice_subset), examples.sheet(dice_subset)):
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


def test_colours_of_cifar10_are_put_last(tmp_path):
    """Pixel (row 1, column 2) of plane c of image i is 10 i + c; everything else is 0."""
    inputs = np.zeros((10, 3, 32, 32), dtype=np.uint8)
    inputs[:, :, 1, 2] = 10 * np.arange(10)[:, None] + np.arange(3)
    path = tmp_path / "cifar10-subset0.npz"
    arrays = {"inputs": inputs.reshape(10, -1), "labels": np.arange(10), "indices": np.arange(10)}
    write_arrays(path, {**arrays, "scale": np.float64(1 / 255)})
    counts = dict.fromkeys("abcdefghij", 1)
    write_json(
        path.with_suffix(".json"),
        {
            "dataset": "cifar10",
            "settings": {},
            "class_counts": counts,
            "subset_seed": 0,
            "size": 10,
            "sha256": sha256(path),
        },
    )
    figure = examples.sheet(path)
    for label in range(10):
        image = figure.axes[10 * label].get_images()[0].get_array()
        assert image.shape == (32, 32, 3)
        np.testing.assert_allclose(image[1, 2] * 255, [10 * label, 10 * label + 1, 10 * label + 2])
        assert np.count_nonzero(image) == (2 if label == 0 else 3)


def test_traces_of_atrialfibrillation(tmp_path):
    path = tmp_path / "atrialfibrillation-subset0.npz"
    resources = Resources(atrial_zip(tmp_path / "a.zip"), tmp_path)
    name = "atrialfibrillation"
    write_subset(name, AtrialFibrillation(), 0, 60, resources, path)
    inputs, labels = load_subset(path, 60)
    figure = examples.sheet(path)
    assert len(figure.axes) == 12
    for label in range(3):
        for column, window in enumerate(inputs[labels == label][:4]):
            lines = figure.axes[4 * label + column].get_lines()
            np.testing.assert_array_equal(lines[0].get_ydata(), window[:128])
            np.testing.assert_array_equal(lines[1].get_ydata(), window[128:])


def test_phrases_of_sst(tmp_path):
    path = tmp_path / "sst-subset0.npz"
    texts = [{"label": 1, "text": "a $ b_1"}, {"label": 0, "text": "one two three"}]
    record = {
        "dataset": "sst",
        "settings": {"classes": 2},
        "class_counts": {"negative": 1, "positive": 1},
        "subset_seed": 0,
    }
    write_json(path.with_suffix(".json"), {**record, "size": 2, "texts": texts})
    figure = examples.sheet(path)
    words = [text.get_text() for text in figure.texts]
    assert words[-6:] == ["negative", "3", "one two three", "positive", "3", "a $ b_1"]


@pytest.mark.parametrize(
    ("shape", "drawn"), [((), (1, 12)), ((3, 2, 2), (2, 2, 3)), ((1, 3, 4), (3, 4))]
)
def test_a_table_is_drawn_by_its_shape_and_without_its_file(tmp_path, shape, drawn):
    """Values −1 … 58 become 0 … 1; the file is gone when the sheet is made."""
    inputs = np.arange(60.0).reshape(5, 12) - 1
    file = tmp_path / "mine.npz"
    np.savez(file, inputs=inputs, labels=np.array([0, 1, 0, 1, 1]))
    table = Table(path=str(file), title="Mine", licence="CC0", shape=shape, classes=("off", "on"))
    path = tmp_path / "mine-subset0.npz"
    write_subset("mine", table, 0, 5, Resources(None, tmp_path), path)
    file.unlink()
    figure = examples.sheet(path)
    values, labels = load_subset(path, 5)
    image = figure.axes[0].get_images()[0].get_array()
    assert image.shape == drawn
    first = values[labels == 0][0].reshape(shape or (1, 1, 12))
    np.testing.assert_allclose(
        image.reshape(drawn), np.moveaxis((first + 1) / 59, 0, -1).reshape(drawn)
    )
    assert [axes.get_ylabel() for axes in figure.axes[::10]] == ["off", "on"]


def test_numbers_to_fit_have_one_row(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, inputs=np.eye(4), labels=np.arange(4.0))
    path = tmp_path / "mine-subset0.npz"
    table = Table(path=str(file), title="Mine", licence="CC0")
    write_subset("mine", table, 0, 4, Resources(None, tmp_path), path)
    figure = examples.sheet(path)
    assert sum(len(axes.get_images()) for axes in figure.axes) == 4
    assert len(figure.axes) == 10
