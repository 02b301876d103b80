"""Paths that are made of names which a file gave."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def inside(folder: Path | str, name: Any) -> Path:
    """The path `folder`/`name`, without `..` in it, of a name that may come from anyone.

    Only the name is checked: links that the workflow itself has put into the folder are followed.

    Raises: ValueError if the name is no text, or leads out of the folder or to the folder itself.
    """
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"{name!r:.100} is not a file name")
    relative = Path(os.path.normpath(name))
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ValueError(f"{name!r:.100} does not lie inside the folder {folder}")
    return Path(folder, relative)
