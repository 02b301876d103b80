"""Loss and accuracy of one weight snapshot, on the training examples and on held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from eosflow.storage.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


@dataclass(frozen=True)
class Accuracy:
    """Loss and accuracy on the run's examples and on the first of the dataset's test split."""

    name: ClassVar[str] = "accuracy"
    version: ClassVar[int] = 1

    held_out: int = setting(1000, about="held-out examples, of the test split", minimum=1)
    every: int = setting(0, about="iterations between two; 0: every snapshot", minimum=0)

    def columns(self, outputs: int) -> tuple[str, ...]:
        """𝓛 and the share of examples whose largest output is that of their class, of both."""
        return ("loss", "accuracy", "held_out_loss", "held_out_accuracy")

    def applies_to(self, network: str) -> bool:
        """To any."""
        return True

    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int, held_out: Objective
    ) -> dict[str, Any]:
        """The numbers at θ (P,); `held_out` is the same loss on the held-out examples.

        An accuracy is missing (NaN) where the targets are numbers to fit.
        """
        record: dict[str, Any] = {}
        for prefix, which in (("", objective), ("held_out_", held_out)):
            point = which.evaluate(theta)
            record |= {f"{prefix}loss": point.loss, f"{prefix}accuracy": point.accuracy}
            point.release()
        return record
