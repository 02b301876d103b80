"""CIFAR-10 and CIFAR-100: records as published, damage refused, scaling and label noise."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_archives import tar_of

from eosflow.datasets.archives import UnfitArchive
from eosflow.datasets.base import Resources
from eosflow.datasets.cifar import CIFAR, CIFAR10, CIFAR100, noisy_labels
from eosflow.datasets.subsets import write_subset

BATCH, TRAIN, TEST = 20, 1000, 200
each = pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])


@pytest.fixture(autouse=True)
def small_splits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_data" not in request.fixturenames:
        batches = {f"data_batch_{number}.bin": BATCH for number in range(1, 6)}
        monkeypatch.setattr(CIFAR10, "training", batches)
        monkeypatch.setattr(CIFAR10, "test", {"test_batch.bin": BATCH})
        monkeypatch.setattr(CIFAR100, "training", {"train.bin": TRAIN})
        monkeypatch.setattr(CIFAR100, "test", {"test.bin": TEST})


def members_of(kind: type[CIFAR]) -> dict[str, bytes]:
    """Noise in all files of both splits."""
    generator = np.random.default_rng(0)
    members = {kind.names_file: ("\n".join(kind.classes) + "\n").encode()}
    for name, count in {**kind.training, **kind.test}.items():
        records = generator.integers(0, 256, (count, kind.label_bytes + 3072), dtype=np.uint8)
        records[:, : kind.label_bytes] %= 10
        members[name] = records.tobytes()
    return members


def resources(folder: Path, members: dict[str, bytes]) -> Resources:
    inside = {f"cifar/{name}": content for name, content in members.items()}
    return Resources(tar_of(folder / "archive.tar.gz", inside), folder / "cache")


@each
def test_records_are_as_published_and_standardised_by_the_training_images(
    kind: type[CIFAR], tmp_path: Path
) -> None:
    """Against the bytes, and NumPy's mean and deviation of all training images."""
    members = members_of(kind)
    files = resources(tmp_path, members)

    def records(split: Mapping[str, int]) -> np.ndarray:
        content = b"".join(members[name] for name in split)
        return np.frombuffer(content, np.uint8).reshape(-1, kind.label_bytes + 3072)

    training = records(kind.training)[:, kind.label_bytes :].astype(float)
    for held_out, split in ((False, kind.training), (True, kind.test)):
        rows = records(split)
        pixels = rows[:, kind.label_bytes :]
        order = np.random.default_rng(1).permutation(len(rows))
        pool = kind().open(files, held_out)
        assert (pool.labels == rows[:, kind.label_bytes - 1]).all()
        assert len(pool.labels) == kind().size(held_out)
        assert pool.inputs(order).dtype == np.uint8 and pool.scale == 1 / 255
        np.testing.assert_array_equal(pool.inputs(order), pixels[order])
        pool = kind(scaling="standardised").open(files, held_out)
        assert pool.inputs(order).dtype == np.float32 and pool.scale == 1
        expected = (pixels - training.mean(axis=0)) / training.std(axis=0)
        np.testing.assert_allclose(pool.inputs(order), expected[order], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        (CIFAR10, "data_batch_3.bin", b"", r"data_batch_3\.bin has 0 bytes, expected 61460"),
        (CIFAR10, "batches.meta.txt", b"apple\nbear\n", "names the classes apple bear"),
        (CIFAR100, "fine_label_names.txt", b"\x1b[31m" + b"apple\n" * 10**6, "names the classes"),
    ],
)
def test_another_archive_is_refused_in_a_few_words(
    tmp_path: Path, kind: type[CIFAR], name: str, content: bytes, message: str
) -> None:
    with pytest.raises(UnfitArchive, match=message) as refusal:
        kind().open(resources(tmp_path, {**members_of(kind), name: content}))
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
def test_noise_is_in_the_record_and_never_in_held_out_labels(
    kind: type[CIFAR], tmp_path: Path
) -> None:
    files = resources(tmp_path, members_of(kind))
    clean, noisy = kind(), kind(label_noise=0.5)
    record = write_subset("photographs", noisy, 0, 20, files, tmp_path / "s.npz")
    wrong = noisy.open(files).labels != clean.open(files).labels
    assert 0.3 < np.mean(wrong) < 0.6
    assert record["preprocessing"]["wrong_labels"] == wrong.sum()
    assert "label_noise" not in clean.open(files).preprocessing
    assert (noisy.open(files, True).labels == clean.open(files, True).labels).all()


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
