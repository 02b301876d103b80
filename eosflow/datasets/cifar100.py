"""CIFAR-100 from its binary version: a hundred classes of 32 × 32 colour photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eosflow.datasets.base import Archive, Facts
from eosflow.datasets.cifar import CIFAR

# The fine classes, in the order of fine_label_names.txt.
_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CLASSES = tuple(_NAMES.split())
FACTS = Facts(
    title="CIFAR-100",
    archives=(
        Archive(
            name="cifar-100-binary.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            md5="03b5dce01913d631647c71ecec9e9cb8",
            size_limit=256 * 2**20,
        ),
    ),
    licence="none stated by its authors; research use with citation",
    citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
)


class CIFAR100(CIFAR):
    """CIFAR-100: scaling of the published photographs, and label noise."""

    name: ClassVar[str] = "cifar100"
    facts: ClassVar[Facts] = FACTS
    classes: ClassVar[tuple[str, ...]] = CLASSES
    label_bytes: ClassVar[int] = 2  # one of 20 coarse classes, which is not used, then the fine one
    training: ClassVar[Mapping[str, int]] = {"train.bin": 50_000}
    test: ClassVar[Mapping[str, int]] = {"test.bin": 10_000}
    names_file: ClassVar[str] = "fine_label_names.txt"
