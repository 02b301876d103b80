"""What is known of each dataset before it is touched: sizes, classes, sources, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Raise this when the rows of a subset change, or the form of its record, and TRAINING_VERSION of
# `eosflow.runs.spec` with it: runs do not look at this one.
SUBSET_VERSION = 1


@dataclass(frozen=True)
class Archive:
    """One official download: `name` is also its name in a mirror."""

    name: str
    urls: tuple[str, ...]
    sha256: str | None  # of the official archive; None where it is not known
    md5: str | None
    size_limit: int  # bytes; a larger answer is refused


@dataclass(frozen=True)
class DatasetFacts:
    """What planning needs to know of a dataset without opening it."""

    name: str
    title: str
    class_names: tuple[str, ...]
    archives: tuple[Archive, ...]
    licence: str
    citation: str


CATALOG: dict[str, DatasetFacts] = {
    "dice": DatasetFacts(
        name="dice",
        title="Dice",
        class_names=("one", "two", "three", "four", "five", "six"),
        archives=(),
        licence="generated here; MIT, as the project",
        citation="Lowell & Kastner 2024, arXiv:2406.00127, section 7.3 and Table 3",
    ),
    "cifar10": DatasetFacts(
        name="cifar10",
        title="CIFAR-10",
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        archives=(
            Archive(
                name="cifar-10-binary.tar.gz",
                urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                md5="c32a1d4ab5d03f1284b67883e8d87530",
                size_limit=256 * 2**20,
            ),
        ),
        licence="none stated by its authors; research use with citation",
        citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    ),
    "atrialfibrillation": DatasetFacts(
        name="atrialfibrillation",
        title="AtrialFibrillation",
        class_names=("n", "s", "t"),
        archives=(
            Archive(
                name="AtrialFibrillation.zip",
                urls=(
                    "https://www.timeseriesclassification.com/aeon-toolkit/AtrialFibrillation.zip",
                ),
                sha256=None,
                md5=None,
                size_limit=64 * 2**20,
            ),
        ),
        licence="UEA archive, research use; signals from PhysioNet, Open Data Commons Attribution",
        citation="Moody 2004, Computers in Cardiology 31; Bagnall et al. 2018, arXiv:1811.00075",
    ),
    "sst": DatasetFacts(
        name="sst",
        title="SST",
        class_names=("very negative", "negative", "neutral", "positive", "very positive"),
        archives=(
            Archive(
                name="trainDevTestTrees_PTB.zip",
                urls=("https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",),
                sha256="5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
                md5="5c3b23ce88089053fd3efeb4a34f614d",
                size_limit=64 * 2**20,
            ),
        ),
        licence="none stated by its authors; research use with citation",
        citation="Socher et al. 2013, Recursive deep models for semantic compositionality",
    ),
}


def input_dimension(dataset: str, settings: Mapping[str, Any]) -> int:
    """D, the length of one flattened input, from the dataset's settings in the config."""
    match dataset:
        case "dice":
            return int(settings["image_size"]) ** 2
        case "cifar10":
            return 3 * 32 * 32
        case "atrialfibrillation":
            return 2 * int(settings["window"])
        case "sst":
            return int(settings["words"]) * 768
    raise KeyError(dataset)


def class_names(dataset: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of labels 0 … C−1; for SST with 2 classes the binary ones."""
    if dataset == "sst" and int(settings["classes"]) == 2:
        return ("negative", "positive")
    return CATALOG[dataset].class_names


def class_count(dataset: str, settings: Mapping[str, Any]) -> int:
    """C, the number of classes and of network outputs."""
    return len(class_names(dataset, settings))


def pool_size(dataset: str, settings: Mapping[str, Any]) -> int:
    """Size of the training split that subsets are drawn from; the largest N that can be asked for.

    For SST it is the number of distinct phrases in the training trees; `classes: 2` drops the
    81,658 neutral ones.
    """
    match dataset:
        case "dice":
            return len(CATALOG["dice"].class_names) * int(settings["images_per_class"]) // 2
        case "cifar10":
            return 50_000
        case "atrialfibrillation":
            starts = len(range(0, 640 - int(settings["window"]), int(settings["stride"])))
            return 15 * starts
        case "sst":
            return 159_274 if int(settings["classes"]) == 5 else 77_616
    raise KeyError(dataset)
