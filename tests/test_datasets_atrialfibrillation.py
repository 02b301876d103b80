"""AtrialFibrillation: values as published, windows as described, damaged files refused."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_archives import atrial_series, atrial_zip

from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.atrialfibrillation import AtrialFibrillation, parse_ts
from eosflow.datasets.base import Resources

CLASSES = ("n", "s", "t")


def resources(archive: Path) -> Resources:
    return Resources(archive=archive, cache=Path("unused"))


@pytest.mark.parametrize(("window", "stride"), [(128, 1), (100, 7)])
def test_windows_are_cut_as_described(tmp_path, window, stride):
    values, labels = atrial_series()
    dataset = AtrialFibrillation(window=window, stride=stride)
    pool = dataset.open(resources(atrial_zip(tmp_path / "a.zip")))
    starts = range(0, 640 - window, stride)
    assert len(pool.labels) == dataset.size() == 15 * len(starts)
    inputs = pool.inputs(np.arange(len(pool.labels)))
    assert inputs.dtype == np.float64
    places = [(series, start) for series in range(15) for start in starts]
    for row, (series, start) in enumerate(places):
        expected = np.concatenate([channel[start : start + window] for channel in values[series]])
        np.testing.assert_array_equal(inputs[row], expected)
        assert CLASSES[pool.labels[row]] == labels[series]
    np.testing.assert_array_equal(pool.inputs(np.array([99, 5])), inputs[[99, 5]])


def short(text_of_values: str) -> str:
    return f"@timeStamps false\n@classLabel true n s t\n@data\n{text_of_values}\n"


def test_a_small_file_by_hand():
    values, labels = parse_ts(
        short("1,2.5,-3e-2:4,5,6:t\n\n7,8,9:0,0,0.1:n"), "f.ts", 2, 3, CLASSES
    )
    assert values.tolist() == [[[1, 2.5, -0.03], [4, 5, 6]], [[7, 8, 9], [0, 0, 0.1]]]
    assert labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    "row",
    ["1,?,3:4,5,6:t", "1,2,3:4,5,NaN:t", "1,2,inf:4,5,6:t", "1,2:4,5,6:t", "1,2,3:t",
     "1,2,3:4,5,6:7,8,9:t", "1,2,3:4,5,6:q", "1,2,3:4,5,6"],
)  # fmt: skip
def test_a_bad_row_is_named(row):
    with pytest.raises(ValueError, match=r"f\.ts, line 4: "):
        parse_ts(short(row), "f.ts", 2, 3, CLASSES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"@classLabel true a b\n@data\n1,2,3:4,5,6:a\n", "no line @classLabel true n s t"),
        (b"@classLabel true n s t\n", "no line @data"),
        (b"\xff\xfe\x00", "decode"),
    ],
)
def test_another_archive_is_refused(tmp_path, content, message):
    path = atrial_zip(tmp_path / "a.zip", content)
    with pytest.raises(UnfitArchive, match=rf"a\.zip: .*{message}"):
        AtrialFibrillation().open(resources(path))


def test_the_real_archive(real_data):
    """Counts, classes, known values; all values against NumPy's own reader of numbers."""
    archive = real_data / "AtrialFibrillation.zip"
    pool = AtrialFibrillation().open(resources(archive))
    assert len(pool.labels) == 7680
    assert np.bincount(pool.labels).tolist() == [5 * 512] * 3
    inputs = pool.inputs(np.arange(7680))
    first = [-0.34086, -0.38038, -0.3458, -0.36556]
    assert inputs[0, :4].tolist() == first

    with zipfile.ZipFile(archive) as file:
        text = file.read("AtrialFibrillation_TRAIN.ts").decode()
    rows = text.split("@data\n")[1].strip().split("\n")
    numbers = [re.sub(":[nst]$", "", row).replace(":", ",") for row in rows]
    oracle = np.loadtxt(numbers, delimiter=",").reshape(15, 2, 640)
    for series in range(15):
        for start in (0, 255, 511):
            np.testing.assert_array_equal(
                inputs[series * 512 + start].reshape(2, 128), oracle[series, :, start : start + 128]
            )
