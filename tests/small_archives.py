"""Small archives in the official formats, and a small RoBERTa, made by the tests themselves."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np

CIFAR_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"


def ts_text(values: np.ndarray, labels: list[str], classes: str = "n s t") -> str:
    """A .ts file of series (n, channels, steps), written as the UEA archive writes them."""
    lines = [
        "# a comment",
        "@problemName AtrialFibrillation",
        "@timeStamps false",
        "@missing false",
        "@univariate false",
        f"@dimensions {values.shape[1]}",
        "@equalLength true",
        f"@seriesLength {values.shape[2]}",
        f"@classLabel true {classes}",
        "@data",
    ]
    for series, label in zip(values, labels, strict=True):
        channels = [",".join(repr(float(value)) for value in channel) for channel in series]
        lines.append(":".join([*channels, label]))
    return "\n".join(lines) + "\n"


def atrial_series(seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """15 series of the published shape (15, 2, 640), five of each class, to 5 decimals."""
    values = np.random.default_rng(seed).normal(size=(15, 2, 640)).round(5)
    return values, ["n"] * 5 + ["s"] * 5 + ["t"] * 5


def zip_of(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def atrial_zip(path: Path, text: str | bytes | None = None) -> Path:
    return zip_of(
        path,
        {"AtrialFibrillation_TRAIN.ts": text or ts_text(*atrial_series()), "README.txt": "hello"},
    )


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream, tarfile.open(None, "w", stream) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def cifar_batch(number: int, records: int) -> bytes:
    """A batch whose record r has label (r + number) mod 10 and planes r, r + 1, r + 2 mod 256."""
    rows = np.arange(records)
    batch = np.empty((records, 3073), dtype=np.uint8)
    batch[:, 0] = (rows + number) % 10
    for plane in range(3):
        batch[:, 1 + 1024 * plane : 1 + 1024 * (plane + 1)] = ((rows + plane) % 256)[:, None]
    return batch.tobytes()


def cifar_members(records: int) -> dict[str, bytes]:
    folder = "cifar-10-batches-bin"
    members: dict[str, bytes] = {
        f"{folder}/data_batch_{number}.bin": cifar_batch(number, records) for number in range(1, 6)
    }
    members[f"{folder}/batches.meta.txt"] = (CIFAR_NAMES.replace(" ", "\n") + "\n\n").encode()
    members[f"{folder}/test_batch.bin"] = cifar_batch(0, records)
    return members


TREES = (
    "(3 (2 (2 The) (2 Rock)) (4 (3 (2 is) (4 (2 destined) (2 great))) (2 .)))\n"
    "(1 (2 An) (1 (0 awful) (2 (2 8\u00a01\\/2) (2 (2 The) (2 Rock)))))\n"
)


TEST_TREES = "(4 (2 The) (4 great))\n(1 (2 One) (0 (0 awful) (2 film)))\n"


def sst_zip(path: Path, trees: str = TREES) -> Path:
    members = {"trees/train.txt": trees, "trees/dev.txt": "(2 a)\n", "trees/test.txt": TEST_TREES}
    return zip_of(path, dict(members))


def small_roberta(folder: Path, texts: list[str], hidden: int = 24) -> Path:
    """Save a randomly initialised two-layer RoBERTa and its byte-level tokenizer in `folder`."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    folder.mkdir(parents=True)
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = ByteLevelBPETokenizer(add_prefix_space=True)
    trainer.train_from_iterator(texts, vocab_size=300, min_frequency=1, special_tokens=specials)
    trainer.save_model(str(folder))
    RobertaTokenizerFast.from_pretrained(str(folder)).save_pretrained(str(folder))
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=trainer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=514,
        type_vocab_size=1,
        initializer_range=0.5,  # so that different words really differ
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
