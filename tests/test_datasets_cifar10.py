"""CIFAR-10: records as published, damaged batches refused."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from small_archives import cifar_members, tar_of

from eosflow.datasets import cifar10
from eosflow.datasets.pool import Resources
from eosflow.storage.errors import UserError

RECORDS = 20


@pytest.fixture(autouse=True)
def small_batches(request, monkeypatch):
    if "real_data" not in request.fixturenames:
        for split in ("training", "test"):
            names = getattr(cifar10.CIFAR10, split)
            monkeypatch.setattr(cifar10.CIFAR10, split, dict.fromkeys(names, RECORDS))


def open_archive(path: Path):
    return cifar10.CIFAR10().open_pool(Resources(archive=path, cache=Path("unused")))


def test_records_in_order_of_batches(tmp_path):
    pool = open_archive(tar_of(tmp_path / "c.tar.gz", cifar_members(RECORDS)))
    assert pool.labels.shape == (100,)
    rows = np.array([0, 19, 20, 63, 99])
    inputs = pool.inputs(rows)
    assert inputs.dtype == np.uint8
    assert inputs.shape == (5, 3072)
    for row, values in zip(rows, inputs, strict=True):
        batch, record = row // RECORDS + 1, row % RECORDS
        assert pool.labels[row] == (record + batch) % 10
        for plane in range(3):
            assert (values[1024 * plane : 1024 * (plane + 1)] == record + plane).all()
    assert pool.scale == 1 / 255


def random_members() -> dict[str, bytes]:
    members = cifar_members(RECORDS)
    generator = np.random.default_rng(0)
    for name in members:
        if name.endswith(".bin"):
            records = generator.integers(0, 256, (RECORDS, 3073), dtype=np.uint8)
            records[:, 0] %= 10
            members[name] = records.tobytes()
    return members


def test_standardised_by_the_training_images(tmp_path):
    # Against NumPy's mean and deviation of all training images.
    members = random_members()
    resources = Resources(archive=tar_of(tmp_path / "c.tar.gz", members), cache=Path("unused"))
    folder = "cifar-10-batches-bin"

    def pixels(name: str):
        return np.frombuffer(members[f"{folder}/{name}"], np.uint8).reshape(RECORDS, -1)[:, 1:]

    training = np.concatenate([pixels(name) for name in cifar10.CIFAR10.training]).astype(float)
    dataset = cifar10.CIFAR10(scaling="standardised")
    for pool, raw in (
        (dataset.open_pool(resources), training),
        (dataset.open_held_out(resources), pixels("test_batch.bin")),
    ):
        inputs = pool.inputs(np.arange(len(raw)))
        assert pool.scale == 1
        assert inputs.dtype == np.float32
        expected = (raw - training.mean(axis=0)) / training.std(axis=0)
        np.testing.assert_allclose(inputs, expected, rtol=1e-6, atol=1e-6)


def test_a_value_without_deviation_is_refused(tmp_path):
    members = random_members()
    for name in cifar10.CIFAR10.training:
        records = np.frombuffer(members[f"cifar-10-batches-bin/{name}"], np.uint8)
        records = records.reshape(RECORDS, -1).copy()
        records[:, 8] = 3
        members[f"cifar-10-batches-bin/{name}"] = records.tobytes()
    resources = Resources(archive=tar_of(tmp_path / "c.tar.gz", members), cache=Path("unused"))
    with pytest.raises(UserError, match="value 7 of 3072 is the same in all training images"):
        cifar10.CIFAR10(scaling="standardised").open_pool(resources)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batch: batch[:-1], r"data_batch_3\.bin has 61459 bytes, expected 61460"),
        (lambda batch: b"", "has 0 bytes"),
        (lambda batch: b"\x0a" + batch[1:], "record 0: label 10, expected 0 to 9"),
    ],
)
def test_a_damaged_batch_is_named(tmp_path, change, message):
    members = cifar_members(RECORDS)
    name = "cifar-10-batches-bin/data_batch_3.bin"
    members[name] = change(members[name])
    with pytest.raises(UserError, match=message):
        open_archive(tar_of(tmp_path / "c.tar.gz", members))


def test_a_missing_batch_is_named(tmp_path):
    members = cifar_members(RECORDS)
    del members["cifar-10-batches-bin/data_batch_4.bin"]
    with pytest.raises(UserError, match=r"no member data_batch_4\.bin"):
        open_archive(tar_of(tmp_path / "c.tar.gz", members))


def test_other_classes_are_refused(tmp_path):
    members = cifar_members(RECORDS)
    members["cifar-10-batches-bin/batches.meta.txt"] = b"apple\nbear\n"
    with pytest.raises(UserError, match="names the classes apple bear"):
        open_archive(tar_of(tmp_path / "c.tar.gz", members))


def test_a_pickle_is_never_loaded(tmp_path):
    """The Python version of the archive holds pickles; its members are not even looked for."""

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    members = {f"cifar-10-batches-py/data_batch_{n}": pickle.dumps(Bomb()) for n in range(1, 6)}
    with pytest.raises(UserError, match="no member"):
        open_archive(tar_of(tmp_path / "c.tar.gz", members))


def test_the_real_archive(real_data):
    """Counts, classes, the well-known channel means, and records against the raw bytes."""
    archive = real_data / "cifar-10-binary.tar.gz"
    pool = open_archive(archive)
    assert np.bincount(pool.labels).tolist() == [5000] * 10
    total = np.zeros(3)
    for start in range(0, 50_000, 10_000):
        planes = pool.inputs(np.arange(start, start + 10_000)).reshape(-1, 3, 1024)
        total += planes.mean(axis=(0, 2))
    means = total / 5 * pool.scale
    assert means == pytest.approx([0.49139968, 0.48215827, 0.44653124], abs=1e-6)
    assert pool.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # frog, truck, truck, deer …
    with tarfile.open(archive) as file:
        member = file.extractfile("cifar-10-batches-bin/data_batch_2.bin")
        assert member is not None
        raw = member.read()
    record = raw[3073 * 1234 : 3073 * 1235]
    assert pool.labels[11_234] == record[0]
    assert pool.inputs(np.array([11_234]))[0].tobytes() == record[1:]
