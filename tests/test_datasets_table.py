"""A user's own file: read as it is, drawn like any dataset, and refused with what to do."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from eosflow.datasets import Resources, configured
from eosflow.datasets.subsets import draw_rows, load_subset, write_subset
from eosflow.datasets.table import Table
from eosflow.storage.errors import UserError
from eosflow.storage.settings import from_record, record, requires

ROWS = 60
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(ROWS, 12)).astype(np.float32)
CLASSES = np.arange(ROWS) % 3
NOTHING = Resources(None, Path("unused"))


def npz(path: Path, **arrays: Any) -> Path:
    file = path / "mine.npz"
    np.savez(file, **{"inputs": INPUTS, "labels": CLASSES, **arrays})
    return file


def table_of(path: Path, **columns: Any) -> Path:
    file = path / "mine.parquet"
    parquet.write_table(pa.table(columns), file)
    return file


def table(file: Path, **settings: Any) -> Table:
    return Table(path=str(file), title="My data", licence="CC BY 4.0", **settings)


def drawn(mine: Table, folder: Path, size: int) -> tuple[dict[str, Any], Any, Any]:
    """The record of a subset, its inputs and its labels, in the order of the file's rows."""
    path = folder / "subset.npz"
    facts = write_subset("mine", mine, 0, size, NOTHING, path)
    order = np.argsort(draw_rows("mine", 0, mine.size(), size))  # by the user's name, not the kind
    inputs, labels = load_subset(path, size)
    return facts, inputs[order], labels[order]


def ask_everything(mine: Table, folder: Path) -> None:
    """What planning and then the subset's job ask of a table."""
    for question in (mine.size, mine.input_shape, mine.outputs, mine.class_names):
        question()
    drawn(mine, folder, mine.size())


# --- what is read -------------------------------------------------------------------------------


def test_classes_from_an_npz(tmp_path):
    mine = table(npz(tmp_path), scale=0.5, classes=("cat", "dog", "eel"), citation="Me")
    assert (mine.size(), mine.input_shape(), mine.outputs()) == (ROWS, (12,), 3)
    assert mine.class_names() == ("cat", "dog", "eel")
    facts, inputs, labels = drawn(mine, tmp_path, ROWS)
    np.testing.assert_array_equal(inputs, INPUTS.astype(np.float64) * 0.5)
    np.testing.assert_array_equal(labels, CLASSES)
    assert (inputs.dtype, labels.dtype) == (np.float64, np.int64)
    assert (facts["dataset"], facts["kind"], facts["shape"]) == ("mine", "table", [12])
    assert facts["class_counts"] == {"cat": 20, "dog": 20, "eel": 20}
    content = (tmp_path / "mine.npz").read_bytes()
    assert facts["source"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["source"]["bytes"] == len(content)
    assert (facts["licence"], facts["citation"]) == ("CC BY 4.0", "Me")
    assert configured("mine", {"kind": facts["kind"], **facts["settings"]}) == mine
    assert mine.described().title == "My data"
    assert mine.sources() == (str(tmp_path / "mine.npz"),)


@pytest.mark.parametrize(
    ("inputs", "labels"), [("uint8", "int8"), ("float16", "uint64"), (">f8", ">i4"), ("f4", "bool")]
)
def test_numbers_of_every_type_are_exact(tmp_path, inputs, labels):
    values = RANDOM.integers(0, 100, size=(ROWS, 5)).astype(inputs)
    mine = table(npz(tmp_path, inputs=values, labels=(np.arange(ROWS) % 2).astype(labels)))
    assert mine.class_names() == ("0", "1")
    _, stored, classes = drawn(mine, tmp_path, ROWS)
    np.testing.assert_array_equal(stored, values.astype(np.float64))
    np.testing.assert_array_equal(classes, np.arange(ROWS) % 2)


@pytest.mark.parametrize(("width", "outputs"), [(None, 1), (1, 1), (4, 4)])
def test_numbers_to_fit(tmp_path, width, outputs):
    numbers = RANDOM.normal(size=ROWS if width is None else (ROWS, width))
    mine = table(npz(tmp_path, labels=numbers))
    assert (mine.class_names(), mine.outputs()) == (None, outputs)
    facts, inputs, targets = drawn(mine, tmp_path, ROWS)
    assert (inputs.shape, targets.dtype) == ((ROWS, 12), np.float64)
    expected = numbers.reshape(ROWS, outputs)
    np.testing.assert_array_equal(targets, expected)
    assert not {"class_counts", "cross_entropy_floor"} & set(facts)
    np.testing.assert_allclose(facts["targets"]["mean"], expected.mean(axis=0), rtol=1e-12)
    assert facts["targets"]["min"] == expected.min(axis=0).tolist()
    assert facts["targets"]["max"] == expected.max(axis=0).tolist()


@pytest.mark.parametrize("stored", [(48,), (3, 4, 4)])
@pytest.mark.parametrize("said", [(), (3, 4, 4)])
def test_shapes(tmp_path, stored, said):
    values = np.arange(ROWS * 48.0).reshape(ROWS, *stored)
    mine = table(npz(tmp_path, inputs=values), shape=said)
    assert mine.input_shape() == (said or stored)
    facts, inputs, _ = drawn(mine, tmp_path, ROWS)
    assert facts["shape"] == list(said or stored)
    np.testing.assert_array_equal(inputs, values.reshape(ROWS, -1))


def test_classes_from_a_parquet(tmp_path):
    file = table_of(
        tmp_path,
        b=pa.array([1.5, 2.5, 3.5, 4.5], pa.float32()),
        label=pa.array([0, 1, 1, 0], pa.int8()),
        a=pa.array([1, 2, 3, 4], pa.int16()),
        name=["w", "x", "y", "z"],
        on=[True, False, True, False],
        price=pa.array([Decimal("1.25")] * 4),
        __index_level_0__=[10, 11, 12, 13],
    )
    mine = table(file)
    assert (mine.size(), mine.input_shape(), mine.class_names()) == (4, (4,), ("0", "1"))
    facts, inputs, labels = drawn(mine, tmp_path, 4)
    assert facts["preprocessing"]["left_out"] == ["name", "__index_level_0__"]
    expected = [[1.5, 1, 1, 1.25], [2.5, 2, 0, 1.25], [3.5, 3, 1, 1.25], [4.5, 4, 0, 1.25]]
    assert inputs.tolist() == expected  # in the order of the columns
    assert labels.tolist() == [0, 1, 1, 0]


def test_numbers_from_a_parquet(tmp_path):
    columns = {"label_2": [1, 2, 3], "x": [0.0, 1.0, 2.0], "label_1": [4, 5, 6]}
    mine = table(table_of(tmp_path, **columns))
    assert (mine.outputs(), mine.class_names(), mine.input_shape()) == (2, None, (1,))
    _, inputs, targets = drawn(mine, tmp_path, 3)
    assert inputs.tolist() == [[0], [1], [2]]
    assert targets.tolist() == [[4, 1], [5, 2], [6, 3]]
    alone = table(table_of(tmp_path, label=[0.0, 1.0, 2.0], x=[1, 2, 3]))
    assert (alone.outputs(), alone.class_names()) == (1, None)


NESTED = np.arange(24.0).reshape(4, 2, 3)


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        ({"x": NESTED.tolist()}, (2, 3)),
        ({"x": NESTED.reshape(4, 6).tolist()}, (6,)),
        ({"x": pa.array(NESTED.reshape(4, 6).tolist(), pa.list_(pa.float32(), 6))}, (6,)),
        ({"x": NESTED[:, 0].tolist(), "y": NESTED[:, 1].tolist()}, (6,)),
        ({"x": NESTED[:, 0, 0], "y": NESTED.reshape(4, 6)[:, 1:].tolist()}, (6,)),
    ],
)
def test_lists_in_a_parquet_are_rows_of_arrays(tmp_path, columns, shape):
    mine = table(table_of(tmp_path, label=[0, 1, 1, 0], **columns))
    assert (mine.size(), mine.input_shape()) == (4, shape)
    np.testing.assert_array_equal(drawn(mine, tmp_path, 4)[1], NESTED.reshape(4, 6))


def test_a_changed_file_is_read_again(tmp_path):
    mine = table(npz(tmp_path))
    assert mine.size() == ROWS
    file = npz(tmp_path, inputs=INPUTS[:30], labels=CLASSES[:30] % 2)
    os.utime(file, ns=(1, 1))
    assert mine.size() == 30
    assert mine.outputs() == 2


def test_planning_reads_no_inputs(tmp_path):
    """From the headers and the labels alone: inputs may be large."""
    file = npz(tmp_path, inputs=np.ones((ROWS, 1000)))
    content = bytearray(file.read_bytes())
    content[300_000] ^= 1
    file.write_bytes(content)
    mine = table(file)
    assert (mine.size(), mine.input_shape(), mine.outputs()) == (ROWS, (1000,), 3)
    with pytest.raises(UserError, match=r"mine\.npz: it is no npz file, or damaged .*CRC"):
        mine.open(NOTHING)


def test_settings_go_through_the_config_and_a_record(tmp_path):
    given = {"kind": "table", "path": "x.npz", "title": "X", "licence": "CC0", "shape": [2, 3]}
    mine = configured("x", given | {"scale": 2})
    assert mine == Table(path="x.npz", title="X", licence="CC0", shape=(2, 3), scale=2.0)
    assert from_record({"table": Table}, json.loads(json.dumps(record(mine)))) == mine
    assert requires(Table) == ["path", "title", "licence"]
    good = {name: value for name, value in given.items() if name != "kind"}
    for change in ({"shape": [0]}, {"scale": 0}, {"classes": ["a", "a"]}, {"path": ""}, {"n": 1}):
        with pytest.raises(UserError, match=f"Table.{next(iter(change))}"):
            Table(**(good | change))


# --- what is refused ----------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


def assert_unfit(mine: Table, message: str, folder: Path) -> None:
    """It is refused by what was found, with what is allowed, and nothing is written."""
    with pytest.raises(UserError, match=message) as refusal:
        ask_everything(mine, folder)
    form = "`inputs`" if mine.path.endswith("npz") else "a column `label`"
    assert re.match(rf"{re.escape(mine.path)}: .*Allowed: .*{form}.*\.", str(refusal.value))
    assert list(folder.iterdir()) == [Path(mine.path)]


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({"labels": CLASSES[:59]}, {}, "Each row needs its label"),
        ({"labels": np.int64(1)}, {}, "Each row needs its label"),
        ({"labels": np.array([Bomb()] * ROWS)}, {}, "`labels` is of type object"),
        ({"labels": CLASSES.astype(complex)}, {}, "`labels` is of type complex128"),
        ({"inputs": INPUTS.astype(str)}, {}, "`inputs` is of type <U"),
        ({"inputs": INPUTS[:, 0]}, {}, r"`inputs` has the shape \(60,\).*reshape"),
        ({"inputs": INPUTS[:0], "labels": CLASSES[:0]}, {}, "holds no values"),
        ({"labels": np.stack([CLASSES] * 2, axis=1)}, {}, "one whole number per row"),
        ({"labels": np.ones((60, 2, 2))}, {}, "one whole number per row"),
        ({"labels": CLASSES - 1}, {}, "the labels are -1, 0, 1. .*numpy.unique"),
        ({"labels": CLASSES.astype("u8") * 2**62}, {}, f"the labels are 0, {2**62}"),
        ({"labels": CLASSES * 0}, {}, "the labels are 0. .*two classes or more"),
        ({}, {"classes": ("a", "b")}, "`classes` has 2 names, and the labels are 0 to 2"),
        ({"labels": CLASSES + 0.5}, {"classes": ("a",)}, "the labels are numbers to fit"),
        ({}, {"shape": (5, 2)}, r"shape \(12,\) there, and `shape` is \(5, 2\)"),
        ({"inputs": INPUTS.reshape(60, 2, 2, 3)}, {"shape": (3, 2, 2)}, r"\(2, 2, 3\) there"),
    ],
)
def test_an_unfit_npz_is_refused(tmp_path, arrays, settings, message):
    assert_unfit(table(npz(tmp_path, **arrays), **settings), message, tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1, 2]}, "the columns x.*`label_1`"),
        ({"label": [0, 1], "label_1": [0, 1], "x": [1, 2]}, "the columns label, label_1, x"),
        ({"label_1": [0, 1], "label_3": [0, 1], "x": [1, 2]}, "the columns label_1, label_3"),
        ({"label": [0, 1]}, "no column of numbers beside the labels"),
        ({"label": [0, 1], "x": [["a"], ["b"]]}, "no column of numbers beside the labels"),
        ({"label": ["a", "b"], "x": [1, 2]}, "column label is string"),
        ({"label": [[0], [1]], "x": [1, 2]}, "column label is list"),
        ({"label_1": [0, 1], "label_2": ["a", "b"], "x": [1, 2]}, "column label_2 is string"),
        ({"label": [0, None], "x": [1, 2]}, "column label lacks 1 of its 2 values"),
        ({"label": [0, 1], "x": [[1, 2], [3]]}, "column x has lists of 1 to 2 values"),
        ({"label": [0, 1], "x": [[1, 2], None]}, "column x has lists of 0 to 2 values"),
        ({"label": [0, 1], "x": [[1, 2], [3, None]]}, "column x lacks 1 of its 4 values"),
        ({"label": [1, 2], "x": [1, 2]}, "the labels are 1, 2"),
        ({"label": pa.array([], pa.int8()), "x": pa.array([], pa.int8())}, "holds no values"),
    ],
)
def test_an_unfit_parquet_is_refused(tmp_path, columns, message):
    assert_unfit(table(table_of(tmp_path, **columns)), message, tmp_path)


@pytest.mark.parametrize("where", ["inputs", "labels"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, where, value):
    arrays = {"inputs": np.array(INPUTS, dtype=float), "labels": CLASSES.astype(float)}
    arrays[where][7] = value
    mine = table(npz(tmp_path, **arrays))
    with pytest.raises(UserError, match=r"mine: 1 of 60 rows hold NaN or infinity.* row 7 of"):
        ask_everything(mine, tmp_path)


def test_two_columns_of_one_name_and_arrays_that_are_missing_are_named(tmp_path):
    file = tmp_path / "mine.parquet"
    columns = [pa.array([0, 1])] * 3
    parquet.write_table(pa.Table.from_arrays(columns, names=["label", "x", "x"]), file)
    with pytest.raises(UserError, match="two columns x"):
        table(file).size()
    for arrays, words in (({"inputs": INPUTS, "y": CLASSES}, "labels, but inputs, y"), ({}, "but")):
        np.savez(tmp_path / "mine.npz", **arrays)
        with pytest.raises(UserError, match=f"no array .*{words}"):
            table(tmp_path / "mine.npz").size()


@pytest.mark.parametrize("name", ["mine.npz", "mine.parquet"])
def test_what_is_no_such_file_is_refused(tmp_path, name):
    file = tmp_path / name
    whole = npz(tmp_path) if name.endswith("npz") else table_of(tmp_path, label=[0], x=[1])
    content = whole.read_bytes()
    whole.unlink()
    long, folder, loop = (tmp_path / f"{begin}-{name}" for begin in ("n" * 300, "folder", "loop"))
    folder.mkdir()
    loop.symlink_to(loop)
    for absent in (file, file, long, folder, loop):  # a refusal is not remembered as an answer
        with pytest.raises(UserError, match="there is no such file"):
            table(absent).size()
    for damaged in (b"", b"hello", content[:10], content[: len(content) // 2], content[:-30]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="or damaged"):
            table(file).size()
    with pytest.raises(UserError, match=r"ends in \.npz or \.parquet"):
        table(tmp_path / "mine.csv").size()


def header(shape: str, dtype: str = "<f8") -> bytes:
    """The header of an array that promises this shape, and none of its bytes."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(f"({10**30}, 2)"), "has fewer"),
        (header("(1000, 1000)"), "has fewer"),
        (header("(-1, 2)"), "damaged"),
        (header("(((" * 60), "damaged"),
        (header("(2, 3)")[:40], "damaged"),
        (b"\x93NUMPY\x09\x00", "damaged"),
        (header("(2, 3)", "<f" + "9" * 50), "damaged"),
    ],
)
def test_an_array_that_promises_what_is_not_there_is_refused(tmp_path, content, message):
    file = tmp_path / "mine.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inputs.npy", content)
        archive.writestr("labels.npy", header("(2,)", "<i8") + bytes(16))
    with pytest.raises(UserError, match=message):
        ask_everything(table(file), tmp_path)
