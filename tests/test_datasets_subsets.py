"""Subset files: the draw, the record, and the whole path from an address to a subset."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from project import ROOT, run_job
from scipy import stats
from small_archives import atrial_series, atrial_zip, ts_text

from eosflow.datasets import ARCHIVES, DATASETS, Pool, Resources, configured
from eosflow.datasets.atrialfibrillation import AtrialFibrillation
from eosflow.datasets.cifar import CIFAR10
from eosflow.datasets.dice import Dice
from eosflow.datasets.subsets import (
    cross_entropy_floor,
    draw_rows,
    load_subset,
    write_arrays,
    write_subset,
)
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, sha256
from eosflow.storage.settings import key_fields, record
from eosflow.workflow import command_line

DICE = Dice(image_size=16, images_per_class=100)
GOLDEN_ROWS = [30612, 23871, 9319, 24686, 12057]  # first rows of CIFAR-10, subset 1
GOLDEN_DIGEST = "fa56ac4b9472ae91d6d6dc8c30537042763279b18d00c7416ded824e65b90df2"
NOTHING = Resources(archive=None, cache=Path("unused"))


def write_dice(output: Path, seed: int | None = 0, size: int = 200) -> dict:
    return write_subset("dice", DICE, seed, size, NOTHING, output)


@pytest.mark.registry
def test_the_defaults_are_the_paper_and_its_settings_are_known():
    """They are config.yaml's, and the limits those of the schema; defaults may never change.

    What the paper's config says otherwise since then is in the key.
    """
    config = yaml.safe_load((ROOT / "config.yaml").read_text())["datasets"]
    since = {"dice": {"point": 1}}
    for name, given in config.items():
        assert key_fields(configured(name, given)) == {"name": name, **since.get(name, {})}
        assert key_fields(DATASETS[name]()) == {"name": name}
        assert record(configured(name, given)) == {"name": name, **given}
        assert set(DATASETS[name].model_fields) == set(given)
    assert all(kind.name == name for name, kind in DATASETS.items())


def test_table_1_follows_from_the_pools():
    sizes = {
        Dice(): [60_000, 468, 937, 1875, 3750, 7500],
        CIFAR10(): [50_000, 390, 781, 1562, 3125, 6250],
        AtrialFibrillation(): [7680, 60, 120, 240, 480, 960],
    }
    for dataset, (pool, *parts) in sizes.items():
        assert dataset.size() == pool
        assert parts == [pool // 2**k for k in (7, 6, 5, 4, 3)]


@pytest.mark.registry
def test_the_documentation_lists_the_sources_as_the_modules_do():
    text = (ROOT / "docs" / "datasets.md").read_text()
    for kind in DATASETS.values():
        assert not kind.facts.archives or kind.facts.title in text
    for archive in ARCHIVES.values():
        for known in (f"`{archive.name}`", archive.url, archive.sha256):
            assert known is None or known in text


# --- the draw -----------------------------------------------------------------------------------


def test_subsets_are_nested_and_without_replacement():
    large = draw_rows("dice", 3, 60_000, 7500)
    assert len(set(large.tolist())) == 7500
    assert large.min() >= 0
    assert large.max() < 60_000
    for size in (468, 937, 1875, 3750):
        np.testing.assert_array_equal(draw_rows("dice", 3, 60_000, size), large[:size])
    np.testing.assert_array_equal(np.sort(draw_rows("dice", 3, 100, 100)), np.arange(100))


def test_seeds_and_datasets_draw_independently():
    """The overlap of two subsets is that of independent draws: N²/pool, ± five deviations."""
    subsets = [set(draw_rows("dice", seed, 60_000, 6000).tolist()) for seed in range(4)]
    subsets.append(set(draw_rows("cifar10", 0, 60_000, 6000).tolist()))
    for one in range(5):
        for other in range(one):
            overlap = len(subsets[one] & subsets[other])
            assert overlap == pytest.approx(600, abs=5 * np.sqrt(600 * 0.9 * 0.9))


def test_the_draw_is_the_same_on_every_machine():
    """Golden rows: if they move, raise SUBSET_VERSION."""
    digest = hashlib.sha256(draw_rows("dice", 0, 60_000, 7500).astype("<i8").tobytes())
    assert draw_rows("cifar10", 1, 50_000, 5).tolist() == GOLDEN_ROWS
    assert digest.hexdigest() == GOLDEN_DIGEST


# --- files --------------------------------------------------------------------------------------


def test_a_subset_file_and_its_record(tmp_path):
    path = tmp_path / "dice-subset1.npz"
    facts = write_dice(path, seed=1)
    assert facts == read_json(path.with_suffix(".json"))
    assert {"name": "dice", **facts["settings"]} == record(DICE)
    assert (facts["dataset"], facts["kind"], facts["shape"]) == ("dice", "dice", [1, 16, 16])
    with zipfile.ZipFile(path) as archive:  # the same bytes at any time
        assert {each.date_time[0] for each in archive.infolist()} == {1980}
    with np.load(path) as arrays:
        assert sorted(arrays) == ["indices", "inputs", "labels", "scale"]
        indices, labels = arrays["indices"], arrays["labels"]
        assert arrays["inputs"].dtype == np.uint8
        stored = arrays["inputs"]
    pool = DICE.open(NOTHING)
    np.testing.assert_array_equal(indices, draw_rows("dice", 1, 300, 200))
    np.testing.assert_array_equal(labels, pool.labels[indices])
    assert list(facts["class_counts"].values()) == np.bincount(labels).tolist()
    assert sum(facts["class_counts"].values()) == facts["size"] == 200
    for key in ("licence", "citation", "source", "preprocessing", "draw", "sha256"):
        assert facts[key]

    inputs, few = load_subset(path, 50)
    assert inputs.dtype == np.float64
    assert few.dtype == np.int64
    assert inputs.shape == (50, 256)
    np.testing.assert_allclose(inputs, stored[:50] / 255.0, rtol=1e-15)
    assert inputs.max() == 1.0
    np.testing.assert_array_equal(few, labels[:50])

    write_dice(path, seed=None)
    with np.load(path) as arrays:
        held_out = draw_rows("dice, held out", 0, 300, 200)
        np.testing.assert_array_equal(arrays["indices"], held_out)
        np.testing.assert_array_equal(arrays["labels"], DICE.open(NOTHING, True).labels[held_out])


def test_the_floor_of_the_cross_entropy():
    inputs = np.array([[0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [1, 0], [2, 0], [3, 0]])
    labels = np.array([0, 0, 0, 1, 2, 2, 0, 1])
    # four equal inputs, three of class 0 and one of class 1; the rest can be told apart
    by_hand = (3 * np.log(4 / 3) + 1 * np.log(4)) / 8
    assert cross_entropy_floor(inputs, labels) == pytest.approx(by_hand, rel=1e-14)
    assert cross_entropy_floor(inputs[3:], labels[3:]) == 0.0


def test_small_points_vanish_and_leave_a_floor(tmp_path):
    """As in R: a disc between pixel centres leaves a blank image, of class one or of class two."""
    dice, path = Dice(image_size=16, images_per_class=2000), tmp_path / "dice.npz"
    facts = write_subset("dice", dice, 0, 6000, NOTHING, path)
    inputs, labels = load_subset(path, 6000)
    blank = np.bincount(labels[(inputs == 1).all(axis=1)], minlength=6)
    assert blank[:2].all() and not blank[2:].any()
    floor = blank.sum() / 6000 * stats.entropy(blank[:2])
    assert facts["cross_entropy_floor"] >= floor - 1e-12 > 0


def test_a_file_that_is_absent_too_short_or_damaged_is_named(tmp_path):
    path = tmp_path / "dice.npz"
    with pytest.raises(UserError, match="does not exist"):
        load_subset(path, 1)
    write_dice(path)
    for n in (0, -1, 201):
        with pytest.raises(UserError, match=f"has 200 rows, {n} were asked for"):
            load_subset(path, n)
    content, record = path.read_bytes(), path.with_suffix(".json")
    record.write_text("null")
    with pytest.raises(UserError, match=r"dice\.json is not a subset file or is damaged"):
        load_subset(path, 200)
    record.unlink()
    for damaged in (b"", b"hello", content[:-100], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"damaged.*start the workflow"):
            load_subset(path, 1)


def test_a_file_that_is_not_what_its_record_says_is_moved_aside(tmp_path):
    path = tmp_path / "dice.npz"
    write_dice(path)
    with np.load(path) as arrays:
        write_arrays(path, {**arrays, "labels": arrays["labels"][::-1]})
    with pytest.raises(UserError, match=r"does not match dice\.json"):
        load_subset(path, 200)
    assert not path.exists() and len(list(tmp_path.glob("dice.npz.damaged-*"))) == 1


# --- what is refused ----------------------------------------------------------------------------


def test_more_than_the_pool_and_no_archive(tmp_path):
    with pytest.raises(UserError, match=r"a subset of 301 was asked for.*has 300"):
        write_dice(tmp_path / "x.npz", size=301)
    with pytest.raises(UserError, match=r"read from AtrialFibrillation\.zip.*fetch it"):
        write_subset("af", AtrialFibrillation(), 0, 60, NOTHING, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "renamed", "message"),
    [
        (15, "t", "no example of class t"),
        (14, None, "has 7168 examples, where the published one has 7680"),
    ],
)
def test_another_archive_than_the_published_one(tmp_path, count, renamed, message):
    values, labels = atrial_series()
    labels = ["n" if label == renamed else label for label in labels]
    archive = atrial_zip(tmp_path / "a.zip", ts_text(values[:count], labels[:count]))
    files = Resources(archive, tmp_path)
    with pytest.raises(UserError, match=message):
        write_subset("af", AtrialFibrillation(), 0, 60, files, tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("labels", "values", "width", "message"),
    [
        ([0, 6], [0.0, 1.0], 256, "label 6 in the training split, expected 0 to 5"),
        ([0, 1], [0.0, np.inf], 256, "1 of 300 rows hold NaN or infinity"),
        ([0, 1], [0.0, 1.0], 10, "an input has 10 values, expected 256"),
    ],
)
def test_a_pool_that_no_network_can_learn_from(tmp_path, labels, values, width, message):
    class Strange(Dice):
        def open(self, resources, held_out=False):
            known = np.resize(np.arange(6), 300)
            known[[0, 1]] = labels
            inputs = np.zeros((300, width))
            inputs[[0, 1], 7] = values
            return Pool(known, lambda rows: inputs[rows], 1.0, {})

    strange = Strange(image_size=16, images_per_class=100)
    with pytest.raises(UserError, match=message):
        write_subset("dice", strange, 0, 300, NOTHING, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


# --- the jobs -----------------------------------------------------------------------------------


def test_the_job_of_a_subset(tmp_path):
    output, other = tmp_path / "data" / "subsets" / "dice-subset0.npz", tmp_path / "other.npz"
    sizes = {"dice-ce": {"n": [200]}}
    datasets = {"dice": {"image_size": 16, "images_per_class": 100, "point": DICE.point}}
    changes = {"select": ["dice-ce"], "experiments": sizes, "datasets": datasets}
    result = run_job(tmp_path, "subset", "dice", "subset0", **changes)
    assert result.returncode == 0, result.stderr
    assert "dice subset 0: 200 of 300" in result.stderr
    write_dice(other)
    assert output.read_bytes() == other.read_bytes()

    result = run_job(tmp_path, "subset", "mice", "subset0", **changes)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "mice" in result.stderr


def test_messages_and_defects_end_differently():
    def complain() -> None:
        raise UserError("what to do")

    with pytest.raises(SystemExit) as end:
        command_line.run(complain)
    assert end.value.code == "error: what to do"  # which Python prints, with status 1
    with pytest.raises(ZeroDivisionError):
        command_line.run(lambda: print(1 / 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "size"), [(AtrialFibrillation(), 960), (CIFAR10(), 6250)], ids=lambda each: ""
)
def test_from_address_to_subset_with_the_real_archives(server, real_data, tmp_path, settings, size):
    """The real archive served over HTTP, cut once on the way, then drawn and read as a run does."""
    dataset, archive = settings.name, settings.facts.archives[0]
    server.files[archive.name] = (real_data / archive.name).read_bytes()
    # The archives at hand may be packed anew, and then their mirror must speak for them.
    sums = f"{sha256(real_data / archive.name)}  {archive.name}\n"
    server.files["SHA256SUMS"] = sums.encode()
    server.faults = ["cut"]
    experiment = {"dataset": dataset, "criterion": "cross_entropy", "n": [size], "target_loss": 0.1}
    changes = {"mirror": server.url, "select": ["mine"], "experiments": {"mine": experiment}}
    result = run_job(tmp_path, "fetch", archive.name, **changes)
    assert result.returncode == 0, result.stderr
    assert len(server.requests) == 2
    output = tmp_path / "data" / "subsets" / f"{dataset}-subset0.npz"
    result = run_job(tmp_path, "subset", dataset, "subset0", **changes)
    assert result.returncode == 0, result.stderr

    inputs, labels = load_subset(output, size)
    assert inputs.shape == (size, settings.dimension())
    assert np.isfinite(inputs).all()
    assert set(labels.tolist()) == set(range(settings.outputs()))
    facts = read_json(output.with_suffix(".json"))
    assert facts["pool"] == settings.size()
    assert facts["shape"] == list(settings.input_shape())
    assert facts["source"]["url"].startswith(server.url)
    if dataset == "cifar10":
        # the mean over all 50,000 training images is 0.4734; the deviation of one image's is 0.12
        assert inputs.mean() == pytest.approx(0.4734, abs=5 * 0.12 / np.sqrt(size))
        assert inputs.max() == 1.0
