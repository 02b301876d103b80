"""Tensors and their metadata in one file, with a checksum of the contents."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing


class DamagedFile(UserError):
    """A result file that is not what was written: truncated, or with a flipped bit."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}")
        self.path = path


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata to a safetensors file, atomically.

    The metadata gain a checksum of the contents, which `load_tensors` compares.
    """
    contiguous: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        # The library refuses memory that two names share, as an average has that is one step old.
        shared = any(whole.data_ptr() == other.data_ptr() for other in contiguous.values())
        contiguous[name] = whole.clone() if shared else whole
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    texts["checksum"] = _checksum(contiguous, texts)
    with replacing(path) as temporary:
        try:
            safetensors.torch.save_file(contiguous, temporary, metadata=texts)
        except safetensors.SafetensorError as error:
            # The library keeps only the text of the system's error, such as a full disk.
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        _sort_header(temporary)


def _sort_header(path: Path) -> None:
    """Sort the header's keys, which the library writes in random order: equal contents should be
    equal files. Format: 8 bytes of length, that much JSON, then the data.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        file.seek(8)
        file.write(text.encode().ljust(length))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that `save_tensors` wrote.

    Raises: DamagedFile where it is truncated or its checksum does not match.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            # Cloned: mapped memory is not aligned as torch's own, and sums may then differ.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            texts = dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise DamagedFile(path, str(error)) from error
    expected = texts.pop("checksum", None)
    if expected != _checksum(tensors, texts):
        raise DamagedFile(path, "its contents do not match its checksum")
    return tensors, {name: json.loads(text) for name, text in texts.items()}


def _checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    total = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name in sorted(tensors):
        total.update(f"{name} {tuple(tensors[name].shape)}".encode())
        total.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()
