"""What the Hugging Face Hub has, looked for on this machine first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from eosflow.storage.errors import UserError

T = TypeVar("T")

log = logging.getLogger(__name__)


def cached_or_fetched(
    load: Callable[..., T], model: str, revision: str | None, what: str, setting: str
) -> T:
    """`load(**where)` of folder `model`, or of that name: from the cache, and else from the Hub.

    `what` is loaded in words; `setting` is what names the model in the configuration.

    Raises: UserError if it can neither be found nor fetched.
    """
    try:
        if Path(model).is_dir():
            return load(local_files_only=True)
        try:
            return load(local_files_only=True, revision=revision)
        except (OSError, ValueError):
            log.info("fetching %s, revision %s", model, revision)
            return load(revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"the {what} {model!r} (revision {revision}) could not be loaded: {reason}\nIt is "
            f"fetched from the Hugging Face Hub once. Without a network, set `{setting}` to a "
            "folder as `save_pretrained` of transformers writes it, or set the environment "
            "variable HF_HOME to a cache that has it."
        ) from error
