"""CIFAR-10 and CIFAR-100: records as published, damage refused, scaling and label noise."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small_archives import cifar100_members, cifar_members, tar_of

from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Resources
from eosflow.datasets.cifar import CIFAR, CIFAR10, CIFAR100, noisy_labels
from eosflow.datasets.subsets import load_subset, write_subset

BATCH, TRAIN, TEST = 20, 1000, 200
FOLDERS = {CIFAR10: "cifar-10-batches-bin", CIFAR100: "cifar-100-binary"}
each = pytest.mark.parametrize("kind", FOLDERS)


@pytest.fixture(autouse=True)
def small_splits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_data" not in request.fixturenames:
        batches = {f"data_batch_{number}.bin": BATCH for number in range(1, 6)}
        monkeypatch.setattr(CIFAR10, "training", batches)
        monkeypatch.setattr(CIFAR10, "test", {"test_batch.bin": BATCH})
        monkeypatch.setattr(CIFAR100, "training", {"train.bin": TRAIN})
        monkeypatch.setattr(CIFAR100, "test", {"test.bin": TEST})


def members_of(kind: type[CIFAR]) -> dict[str, Any]:
    return cifar_members(BATCH) if kind is CIFAR10 else cifar100_members(TRAIN, TEST)


def resources(folder: Path, kind: type[CIFAR], **changes: bytes) -> Resources:
    """An archive, some of whose members, by the stem of their names, have another content."""
    members = members_of(kind)
    for stem, content in changes.items():
        (name,) = (name for name in members if f"/{stem}." in name)
        members[name] = content
    return Resources(tar_of(folder / "archive.tar.gz", members), folder / "cache")


def random_records(kind: type[CIFAR]) -> dict[str, bytes]:
    """Noise for all files of both splits, by the stems of their names."""
    generator = np.random.default_rng(0)
    contents = {}
    for name, count in {**kind.training, **kind.test}.items():
        records = generator.integers(0, 256, (count, kind.label_bytes + 3072), dtype=np.uint8)
        records[:, : kind.label_bytes] %= 10
        contents[name.removesuffix(".bin")] = records.tobytes()
    return contents


@each
def test_records_are_read_in_the_order_of_the_files(kind: type[CIFAR], tmp_path: Path) -> None:
    files, dataset = resources(tmp_path, kind), kind()
    for held_out in (False, True):
        pool = dataset.open(files, held_out)
        assert len(pool.labels) == dataset.size(held_out)
        rows = np.array([0, 3, len(pool.labels) - 1])
        inputs = pool.inputs(rows)
        assert inputs.dtype == np.uint8 and pool.scale == 1 / 255
        for row, planes in zip(rows, inputs.reshape(3, 3, 1024), strict=True):
            record = row % BATCH if kind is CIFAR10 else row
            assert [set(plane) for plane in planes] == [{(record + p) % 256} for p in range(3)]
            batch = 0 if held_out else row // BATCH + 1
            expected = (record + batch) % 10 if kind is CIFAR10 else 7 * row % 100
            assert pool.labels[row] == expected


@each
def test_standardised_by_the_training_images(kind: type[CIFAR], tmp_path: Path) -> None:
    """Against NumPy's mean and deviation of all training images."""
    contents = random_records(kind)
    files, dataset = resources(tmp_path, kind, **contents), kind(scaling="standardised")

    def pixels(names: dict[str, int]) -> np.ndarray:
        parts = [np.frombuffer(contents[name.removesuffix(".bin")], np.uint8) for name in names]
        rows = np.concatenate(parts).reshape(-1, kind.label_bytes + 3072)
        return rows[:, kind.label_bytes :].astype(float)

    training = pixels(dict(kind.training))
    for held_out, raw in ((False, training), (True, pixels(dict(kind.test)))):
        pool = dataset.open(files, held_out)
        inputs = pool.inputs(np.arange(len(raw)))
        assert (pool.scale, inputs.dtype) == (1, np.float32)
        expected = (raw - training.mean(axis=0)) / training.std(axis=0)
        np.testing.assert_allclose(inputs, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "stem", "content", "message"),
    [
        (CIFAR10, "data_batch_3", b"", r"data_batch_3\.bin has 0 bytes, expected 61460"),
        (CIFAR10, "batches", b"apple\nbear\n", "names the classes apple bear"),
        (CIFAR100, "fine_label_names", b"\x1b[31m" + b"apple\n" * 10**6, "names the classes"),
    ],
)
def test_another_archive_is_refused_in_a_few_words(
    tmp_path: Path, kind: type[CIFAR], stem: str, content: bytes, message: str
) -> None:
    with pytest.raises(UnfitArchive, match=message) as refusal:
        kind().open(resources(tmp_path, kind, **{stem: content}))
    assert len(str(refusal.value)) < 3000 and "\x1b" not in str(refusal.value)


def test_the_noise_has_the_share_asked_for_and_uniform_classes() -> None:
    right = np.arange(50_000) % 100
    noisy = noisy_labels(right, 100, 0.5, seed=0)
    wrong = noisy != right
    # The drawn class is the right one in 1 of 100; the number of wrong ones is binomial.
    assert stats.binomtest(int(wrong.sum()), len(right), 0.5 * 0.99).pvalue > 0.001
    assert stats.chisquare(np.bincount(noisy[wrong], minlength=100)).pvalue > 0.001
    # Where it is wrong does not depend on the class.
    assert stats.chisquare(np.bincount(right[wrong], minlength=100)).pvalue > 0.001
    assert (noisy_labels(right, 100, 0.0, seed=0) == right).all()
    every = noisy_labels(right, 100, 1.0, seed=0)
    assert stats.binomtest(int((every == right).sum()), len(right), 0.01).pvalue > 0.001


def test_the_noise_of_a_row_depends_on_the_seed_and_the_row_alone() -> None:
    right = np.arange(1000) % 10
    whole = noisy_labels(right, 10, 0.5, seed=3)
    assert (noisy_labels(right[:200], 10, 0.5, seed=3) == whole[:200]).all()
    assert (noisy_labels(right, 10, 0.5, seed=4) != whole).any()
    fewer = noisy_labels(right, 10, 0.2, seed=3)
    replaced = fewer != right
    assert (fewer[replaced] == whole[replaced]).all()  # a larger share keeps them


@each
def test_subsets_stay_nested_and_held_out_labels_clean(tmp_path: Path, kind: type[CIFAR]) -> None:
    files = resources(tmp_path, kind)
    clean, noisy = kind(), kind(label_noise=0.5)

    def drawn(dataset: CIFAR, seed: int | None, size: int) -> tuple[Any, dict[str, Any]]:
        path = tmp_path / f"{dataset.label_noise}-{seed}-{size}.npz"
        record = write_subset("photographs", dataset, seed, size, files, path)
        return load_subset(path, size)[1], record

    large, record = drawn(noisy, 0, 80)
    small, _ = drawn(noisy, 0, 50)
    right, before = drawn(clean, 0, 80)
    assert small.tolist() == large[:50].tolist()
    assert 0.3 < np.mean(large != right) < 0.6
    pools = noisy.open(files).labels, clean.open(files).labels
    assert record["preprocessing"]["wrong_labels"] == np.count_nonzero(pools[0] != pools[1])
    assert "label_noise" not in before["preprocessing"]
    assert drawn(noisy, None, 20)[0].tolist() == drawn(clean, None, 20)[0].tolist()


def test_the_real_archive(real_data: Path) -> None:
    """Counts, classes, the well-known channel means, and records against the raw bytes."""
    archive = real_data / "cifar-10-binary.tar.gz"
    pool = CIFAR10().open(Resources(archive, Path("unused")))
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


def test_the_hundred_classes_are_those_published() -> None:
    classes = CIFAR100.classes
    assert len(set(classes)) == 100
    assert list(classes) == sorted(classes)  # labels are their places
    assert [classes[label] for label in (0, 54, 99)] == ["apple", "orchid", "worm"]
