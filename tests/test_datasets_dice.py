"""Dice: the images against R's, the parameters against Table 3, each image on its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from eosflow.datasets import dice, dice_drawing
from eosflow.datasets.base import Resources

DATA = Path(__file__).parent / "data"
DICE = dice.Dice(images_per_class=2000)
NOTHING = Resources(archive=None, cache=Path("unused"))


def r_references(point: int = 16) -> list[tuple[int, dict[str, list[float]], np.ndarray]]:
    """Class, parameters and image (drawn by R 4.2 with this pch) of each of the 36 references."""
    with np.load(DATA / "dice-r-reference.npz") as arrays:
        images = arrays[f"pch{point}"]
    with (DATA / "dice-r-reference.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    references = []
    for row, image in zip(rows, images, strict=True):
        drawn = {name: [float(row[name] or "nan")] for name in dice.PARAMETERS}
        drawn["lend"] = [dice.LINE_ENDS.index(row["lend"])]
        references.append((int(row["class"]), drawn, image))
    return references


@pytest.mark.parametrize("point", dice_drawing.POINTS)
def test_images_are_those_of_r(point):
    """Well within 4 grey levels and 5 % of ink; with cairo 1.16 they are equal, pixel by pixel.

    Six references of each class, with all line ends.
    """
    references = r_references(point)
    assert [sum(number == k for number, *_ in references) for k in range(1, 7)] == [6] * 6
    assert {drawn["lend"][0] for _, drawn, _ in references} == {0, 1, 2}
    for number, (class_number, drawn, reference) in enumerate(references):
        image = dice.draw(class_number, drawn, 32, point)[0]
        assert np.abs(image.astype(int) - reference.astype(int)).mean() < 0.5, number
        ink, reference_ink = (255.0 - image).sum(), (255.0 - reference).sum()
        assert ink == pytest.approx(reference_ink, rel=0.05), number


def test_lines_of_the_windows_device_are_those_of_xlib():
    """R's Xlib device has the same rules for lines below lwd 2, and X paints by pixel centres too.

    Outlines are equal. Of oblique lines a few pixels differ, at ends and where a centre is touched.
    """
    with np.load(DATA / "dice-r-reference.npz") as arrays:
        painted = arrays["xlib"]
    differing, ink, outlines = 0, 0, 0
    for (number, drawn, _), reference in zip(r_references(), painted, strict=True):
        if number in (1, 2, 5) or drawn["lwd"][0] >= 2:
            continue
        image = dice.draw(number, drawn, 32, 1, "windows")[0]
        if number == 4:
            np.testing.assert_array_equal(image, reference)
            outlines += 1
        differing += (image != reference).sum()
        ink += (reference == 0).sum()
    assert outlines == 6
    assert differing <= 0.02 * ink


@pytest.mark.parametrize("point", dice_drawing.POINTS)
def test_the_windows_device_paints_whole_pixels_and_no_point_vanishes(point):
    for class_number in dice.RANGES:
        drawn = dice.parameters(0, class_number, np.arange(300))
        images = dice.draw(class_number, drawn, 32, point, "windows")
        assert set(np.unique(images)) == {0, 255}
        if class_number in (1, 2):
            assert ((images == 0).sum(axis=(1, 2)) >= 1).all()
    smallest = {"x": [0.0], "y": [0.0], "cex": [0.1], "lwd": [np.nan], "dx": [0], "dy": [0]}
    image = dice.draw(1, {**smallest, "lend": [-1]}, 32, point, "windows")[0]
    assert np.argwhere(image == 0).tolist() == [[15, 15], [15, 16], [16, 15], [16, 16]]


def test_an_image_depends_on_its_seed_class_and_index_alone():
    for class_number in dice.RANGES:
        together = dice.parameters(7, class_number, np.arange(500))
        for index in (0, 1, 2, 137, 499):
            alone = dice.parameters(7, class_number, np.array([index]))
            for name, values in alone.items():
                np.testing.assert_array_equal(values[0], together[name][index])
        picked = dice.parameters(7, class_number, np.array([499, 3, 3]))
        np.testing.assert_array_equal(picked["x"], together["x"][[499, 3, 3]])
        image = dice.draw(class_number, dice.parameters(7, class_number, np.array([137])), 32)
        drawn_together = dice.draw(class_number, together, 32)
        np.testing.assert_array_equal(image[0], drawn_together[137])
    other_seed = dice.parameters(8, 1, np.arange(500))["x"]
    other_class = dice.parameters(7, 2, np.arange(500))["x"]
    mine = dice.parameters(7, 1, np.arange(500))["x"]
    assert not np.any(mine == other_seed)
    assert not np.any(mine == other_class)


def test_known_images_stay_as_they_are():
    """Golden numbers: if they move, raise SUBSET_VERSION, for every subset moves with them."""
    drawn = dice.parameters(0, 1, np.array([0, 1]))
    assert drawn["x"].tolist() == [0.6267081219587127, 0.13119147796314512]
    assert dice.parameters(0, 6, np.array([19_999]))["dy"][0] == 0.3958011754440439


@pytest.mark.parametrize("class_number", dice.RANGES)
def test_parameters_fill_the_ranges_of_table_3(class_number):
    count = 20_000
    drawn = dice.parameters(0, class_number, np.arange(count))
    ranges = dice.RANGES[class_number]
    for name in dice.PARAMETERS:
        if name not in ranges:
            assert np.isnan(drawn[name]).all()
            continue
        low, high = ranges[name]
        assert low <= drawn[name].min() < low + 0.001 * (high - low)
        assert high - 0.001 * (high - low) < drawn[name].max() < high
        fractions = (drawn[name] - low) / (high - low)
        # five standard errors of the mean and of the variance of a uniform variable
        assert fractions.mean() == pytest.approx(1 / 2, abs=5 * np.sqrt(1 / 12 / count))
        assert fractions.var() == pytest.approx(1 / 12, abs=5 * np.sqrt(1 / 180 / count))
    drawn_names = [name for name in dice.PARAMETERS if name in ranges]
    correlations = np.corrcoef([drawn[name] for name in drawn_names]) - np.eye(len(drawn_names))
    assert np.abs(correlations).max() < 5 / np.sqrt(count)
    if "lwd" in ranges:
        counts = np.bincount(drawn["lend"], minlength=3)
        assert counts == pytest.approx([count / 3] * 3, abs=5 * np.sqrt(count * 2 / 9))
    else:
        assert (drawn["lend"] == -1).all()


def test_the_split_is_even_fixed_and_random():
    training = dice.training_split(0, 20_000)
    assert training.shape == (120_000,)
    assert training.sum() == 60_000
    by_class = training.reshape(6, 20_000).sum(axis=1)
    assert np.abs(by_class - 10_000).max() < 5 * np.sqrt(120_000 / 6 / 4)
    assert by_class.std() > 0
    np.testing.assert_array_equal(training, dice.training_split(0, 20_000))
    assert (training != dice.training_split(1, 20_000)).any()


def inputs_of(rows, **changes):
    pool = DICE.model_copy(update=changes).open(NOTHING)
    return pool.inputs(rows).astype(np.float64) * pool.scale


def test_scalings_are_affine_in_the_grey_level():
    rows = np.arange(0, 6000, 50)
    unit = inputs_of(rows, point=1)
    assert (unit.min(), unit.max()) == (0, 1)
    np.testing.assert_allclose(inputs_of(rows, point=1, scaling="inverted"), 1 - unit, atol=1e-15)
    np.testing.assert_allclose(inputs_of(rows, point=1, scaling="signed"), 2 * unit - 1, atol=1e-15)
    every = inputs_of(np.arange(6000), point=1)
    np.testing.assert_allclose(
        inputs_of(rows, point=1, scaling="standardised"),
        (unit - every.mean()) / every.std(),
        rtol=1e-6,
        atol=1e-7,
    )


def test_channels_are_equal_planes():
    rows = np.array([17, 5999])
    for scaling in dice.SCALINGS:
        grey = inputs_of(rows, scaling=scaling)
        colour = inputs_of(rows, scaling=scaling, channels=3)
        np.testing.assert_array_equal(colour.reshape(2, 3, -1), np.stack([grey] * 3, axis=1))
    assert DICE.model_copy(update={"channels": 3}).dimension() == 3072


def test_the_parameter_table_draws_the_same_images(tmp_path):
    path = tmp_path / "dice-parameters.parquet"
    dice.write_parameters(DICE, path)
    table = pyarrow.parquet.read_table(path)
    columns = ["class", "index", "split", "x", "y", "cex", "lwd", "lend", "dx", "dy"]
    assert table.column_names == columns
    rows = table.to_pylist()
    assert [(row["class"], row["index"]) for row in rows[1999:2001]] == [(1, 1999), (2, 0)]
    for split, held_out in (("train", False), ("test", True)):
        members = [row for row in rows if row["split"] == split]
        pool = DICE.open(NOTHING, held_out)
        assert pool.labels.tolist() == [row["class"] - 1 for row in members]
        assert len(members) == DICE.size(held_out) == 6000
        chosen = [5999, 0, 1500, 2500, 3500, 4500]
        inputs = pool.inputs(np.array(chosen))
        assert (inputs.dtype, inputs.shape) == (np.uint8, (6, 1024))
        for place, values in zip(chosen, inputs, strict=True):
            row = members[place]
            drawn = {name: [np.nan if row[name] is None else row[name]] for name in dice.PARAMETERS}
            drawn["lend"] = [-1 if row["lend"] is None else dice.LINE_ENDS.index(row["lend"])]
            image = dice.draw(row["class"], drawn, 32)
            np.testing.assert_array_equal(values.reshape(32, 32), image[0])
    assert (rows[0]["lend"], rows[0]["lwd"], rows[-1]["cex"]) == (None, None, None)
    assert rows[-1]["lend"] in dice.LINE_ENDS
