"""Progress of long work: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import sys
import time
from typing import TextIO

from tqdm import tqdm

LOG_SECONDS = 30.0


class LossProgress:
    """Iteration, loss against target, sharpness, rate and time left of one training run.

    The fraction done is log(𝓛_0/𝓛) / log(𝓛_0/target): the loss falls roughly exponentially, so
    time left is an estimate that gets better towards the end.
    """

    def __init__(self, name: str, target_loss: float, file: TextIO | None = None) -> None:
        self._target = target_loss
        self._initial: float | None = None
        self._file = file or sys.stderr
        terminal = self._file.isatty()
        self._bar = tqdm(
            total=100.0,
            desc=name,
            file=self._file,
            disable=not terminal,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
        )
        self._next_line = math.inf if terminal else time.monotonic() + LOG_SECONDS
        self._name = name
        self._start = time.monotonic()
        self._first_iteration: int | None = None
        self._first_fraction = 0.0

    def fraction(self, loss: float) -> float:
        """How far the loss has come, in 0..1."""
        if self._initial is None or self._initial <= self._target:
            return 0.0
        done = math.log(self._initial / max(loss, self._target))
        return min(1.0, max(0.0, done / math.log(self._initial / self._target)))

    def update(self, iteration: int, initial_loss: float, loss: float, sharpness: float) -> None:
        """Show the newest iteration."""
        self._initial = initial_loss
        fraction = self.fraction(loss)
        if self._first_iteration is None:
            self._first_iteration, self._first_fraction = iteration, fraction
        elapsed = time.monotonic() - self._start
        rate = (iteration - self._first_iteration) / elapsed if elapsed > 0 else 0.0
        text = (
            f"iteration {iteration}  loss {loss:.4g} (target {self._target:g})  "
            f"sharpness {sharpness:.4g}  {rate:.2f} iterations/s"
        )
        if not self._bar.disable:
            self._bar.n = 100 * fraction
            self._bar.set_postfix_str(text)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LOG_SECONDS
            gained = fraction - self._first_fraction
            left = elapsed * (1 - fraction) / gained if gained > 0 else math.inf
            remaining = f"about {left:.0f} s left" if math.isfinite(left) else "time left unknown"
            print(f"{self._name}: {text}  {remaining}", file=self._file, flush=True)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
