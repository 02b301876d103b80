"""CIFAR-100, and what it shares with CIFAR-10: label noise."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small_archives import cifar100_members, cifar_members, tar_of

from eosflow.datasets.cifar import CIFAR, noisy_labels
from eosflow.datasets.cifar10 import CIFAR10
from eosflow.datasets.cifar100 import CIFAR100, CLASSES
from eosflow.datasets.pool import Resources
from eosflow.datasets.subsets import load_subset, write_subset
from eosflow.storage.errors import UserError

TRAIN, TEST = 1000, 200


@pytest.fixture(autouse=True)
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR100, "training", {"train.bin": TRAIN})
    monkeypatch.setattr(CIFAR100, "test", {"test.bin": TEST})
    monkeypatch.setattr(CIFAR10, "training", {f"data_batch_{n}.bin": 40 for n in range(1, 6)})
    monkeypatch.setattr(CIFAR10, "test", {"test_batch.bin": 40})


def resources(folder: Path, kind: type[CIFAR]) -> Resources:
    members = cifar100_members(TRAIN, TEST) if kind is CIFAR100 else cifar_members(40)
    return Resources(tar_of(folder / "archive.tar.gz", members), folder / "cache")


def test_the_classes_are_the_hundred_fine_ones() -> None:
    assert len(set(CLASSES)) == 100
    assert list(CLASSES) == sorted(CLASSES)  # as published; labels are their places
    assert [CLASSES[label] for label in (0, 54, 99)] == ["apple", "orchid", "worm"]


def test_a_record_is_coarse_label_fine_label_and_pixels(tmp_path: Path) -> None:
    files, dataset = resources(tmp_path, CIFAR100), CIFAR100()
    for pool, records in (
        (dataset.open_pool(files), TRAIN),
        (dataset.open_held_out(files), TEST),
    ):
        assert pool.labels.tolist() == [7 * row % 100 for row in range(records)]
        rows = np.array([0, 3, records - 1])
        planes = pool.inputs(rows).reshape(3, 3, 1024)
        for row, image in zip(rows, planes, strict=True):
            assert [set(plane) for plane in image] == [{(row + p) % 256} for p in range(3)]
    assert (dataset.pool_size(), dataset.held_out_size()) == (TRAIN, TEST)


@pytest.mark.parametrize(
    "place, value, message",
    [
        ("train.bin", b"", r"train\.bin has 0 bytes, expected 3074000"),
        (
            "train.bin",
            b"\x00\x64" + bytes(TRAIN * 3074 - 2),
            "record 0: label 100, expected 0 to 99",
        ),
        ("fine_label_names.txt", b"apple pear", "names the classes apple pear"),
    ],
)
def test_another_archive_is_refused(tmp_path: Path, place: str, value: bytes, message: str) -> None:
    members = cifar100_members(TRAIN, TEST) | {f"cifar-100-binary/{place}": value}
    files = Resources(tar_of(tmp_path / "archive.tar.gz", members), tmp_path)
    with pytest.raises(UserError, match=message):
        CIFAR100().open_pool(files)


def test_a_hostile_list_of_classes_is_refused_in_a_few_words(tmp_path: Path) -> None:
    names = b"\x1b[31m" + b"apple\n" * 1_000_000
    members = cifar100_members(TRAIN, TEST) | {"cifar-100-binary/fine_label_names.txt": names}
    files = Resources(tar_of(tmp_path / "archive.tar.gz", members), tmp_path)
    with pytest.raises(UserError, match="names the classes") as refusal:
        CIFAR100().open_pool(files)
    assert len(str(refusal.value)) < 3000
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("cifar-100-binary/train.bin", tarfile.SYMTYPE, "is a link or a device"),
        ("cifar-100-binary/train.bin", tarfile.CHRTYPE, "is a link or a device"),
        ("../train.bin", tarfile.REGTYPE, "lies outside"),
        ("/train.bin", tarfile.REGTYPE, "lies outside"),
        ("elsewhere/train.bin", tarfile.REGTYPE, "two members named train.bin"),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, name: str, kind: bytes, message: str) -> None:
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for whole, content in cifar100_members(TRAIN, TEST).items():
            info = tarfile.TarInfo(whole)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(bytes(content)))
        hostile = tarfile.TarInfo(name)
        hostile.type, hostile.linkname = kind, "/etc/passwd"
        archive.addfile(hostile)
    with pytest.raises(UserError, match=message):
        CIFAR100().open_pool(Resources(path, tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["archive.tar.gz"]


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
    assert (noisy_labels(right, 10, 0.5, seed=3) == whole).all()
    assert (noisy_labels(right[:200], 10, 0.5, seed=3) == whole[:200]).all()
    assert (noisy_labels(right, 10, 0.5, seed=4) != whole).any()
    fewer = noisy_labels(right, 10, 0.2, seed=3)
    replaced = fewer != right
    assert (fewer[replaced] == whole[replaced]).all()  # a larger share keeps them


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_subsets_stay_nested_and_held_out_labels_clean(tmp_path: Path, kind: type[CIFAR]) -> None:
    files = resources(tmp_path, kind)
    clean, noisy = kind(), kind(label_noise=0.5)

    def drawn(dataset: CIFAR, seed: int | None, size: int) -> tuple[Any, dict[str, Any]]:
        path = tmp_path / f"{dataset.label_noise}-{seed}-{size}.npz"
        record = write_subset("photographs", dataset, seed, size, files, path)
        return load_subset(path, size)[1], record

    large, record = drawn(noisy, 0, 120)
    small, _ = drawn(noisy, 0, 50)
    right, before = drawn(clean, 0, 120)
    assert small.tolist() == large[:50].tolist()
    assert 0.3 < np.mean(large != right) < 0.6
    all_wrong = record["preprocessing"]["wrong_labels"]
    pools = noisy.open_pool(files).labels, clean.open_pool(files).labels
    assert all_wrong == np.count_nonzero(pools[0] != pools[1])
    assert "label_noise" not in before["preprocessing"]
    assert drawn(noisy, None, 40)[0].tolist() == drawn(clean, None, 40)[0].tolist()
