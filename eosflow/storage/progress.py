"""Progress of a count towards a known total: a bar on a terminal, occasional lines in a log."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

LOG_SECONDS = 10.0
_LINE = "{desc}: {n_fmt}/{total_fmt} ({percentage:.0f} %), {rate_fmt}, {remaining} left"


class _Lines:
    """A stream on which each of tqdm's redrawings is a new line instead of overwriting the last."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if text := text.strip():
            self._stream.write(text + "\n")

    def flush(self) -> None:
        self._stream.flush()


def count_progress(name: str, total: int | None, unit: str, done: int = 0) -> tqdm[Any]:
    """A progress counter on stderr; call `update(k)` and `close()`. Shows rate and time left."""
    if sys.stderr.isatty():
        return tqdm(desc=name, total=total, initial=done, unit=unit, unit_scale=True)
    return tqdm(
        desc=name,
        total=total,
        initial=done,
        unit=unit,
        unit_scale=True,
        mininterval=LOG_SECONDS,
        file=_Lines(sys.stderr),
        bar_format=_LINE if total else None,
    )
