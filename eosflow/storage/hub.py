"""What the Hugging Face Hub has, looked for on this machine first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


def at_hand_or_fetched(load: Callable[..., T], model: str, revision: str | None) -> T:
    """`load(**where)` of folder `model`, or of that name: from the cache, and else from the Hub.

    Raises: what `load` raises of the place that it was tried at last.
    """
    if Path(model).is_dir():
        return load(local_files_only=True)
    try:
        return load(local_files_only=True, revision=revision)
    except (OSError, ValueError):
        log.info("fetching %s, revision %s", model, revision)
        return load(revision=revision)
