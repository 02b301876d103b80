"""Loss and accuracy of one weight snapshot, also on held-out examples, and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class Accuracy(Measurement):
    """Loss and accuracy on the run's examples and on the first of the dataset's test split.

    A choice by held-out examples, such as when to stop, needs other examples than the reported
    accuracy: `validation` reserves the first held-out examples, with separate numbers.
    """

    name: ClassVar[str] = "accuracy"

    held_out: int = Field(
        1000, description="number of held-out examples, from the test split", ge=1
    )
    validation: int = Field(
        0, description="number of held-out examples reserved for validation, the first ones", ge=0
    )

    @model_validator(mode="after")
    def _some_are_left(self) -> Self:
        if self.validation >= self.held_out:
            raise ValueError(
                f"validation is {self.validation}, but there are {self.held_out} held-out "
                "examples to keep them apart from: make held_out larger, or validation smaller."
            )
        return self

    @property
    def held_out_examples(self) -> int:
        return self.held_out

    def columns(self, outputs: int) -> Columns:
        """𝓛 and the share of examples whose largest output is that of their class, of each set."""
        kept_apart = self.validation > 0
        return (
            Column("loss", "𝓛", "𝓛(θ) on the run's examples (E0)", "loss"),
            Column("accuracy", "–", "share of them whose largest output is their class", "share"),
            Column("held_out_loss", "–", "mean loss on the held-out examples", "loss"),
            Column(
                "held_out_accuracy",
                "–",
                "share of the held-out examples whose largest output is their class",
                "share",
            ),
            Column(
                "validation_loss",
                "–",
                "mean loss on the held-out examples kept apart, if any are; they are not in "
                "held_out_loss",
                "loss",
                given=kept_apart,
            ),
            Column(
                "validation_accuracy",
                "–",
                "share of those whose largest output is their class",
                "share",
                given=kept_apart,
            ),
        )

    def measure(  # type: ignore[override]  # the loss on `held_out_examples` comes with it
        self, objective: Objective, theta: Tensor, iteration: int, seed: int, held_out: Objective
    ) -> dict[str, Any]:
        """The numbers at θ (P,); `held_out` is the same loss on the held-out examples.

        Those kept apart are not in the numbers of the held-out ones. An accuracy is missing (NaN)
        where the targets are numbers to fit.
        """
        record: dict[str, Any] = {}
        for prefix, which in {"": objective, **self._sets(held_out)}.items():
            evaluation = which.evaluate(theta)
            record |= {f"{prefix}loss": evaluation.loss, f"{prefix}accuracy": evaluation.accuracy}
        return record

    def _sets(self, held_out: Objective) -> dict[str, Objective]:
        """The held-out examples, those kept apart on their own."""
        if not self.validation:
            return {"held_out_": held_out}
        import torch

        def part(start: int, stop: int) -> Objective:
            rows = torch.arange(start, stop, device=held_out.inputs.device)
            return held_out.scratch(f"rows {start} to {stop}", lambda: held_out.batch(rows))

        apart = self.validation
        return {"held_out_": part(apart, held_out.examples), "validation_": part(0, apart)}


class Distance(Measurement):
    """‖θ − θ₀‖, with θ₀ the initial weights.

    Source: Jastrzębski et al. 2019, the column "Dist." of the tables of Nudged-SGD.
    """

    name: ClassVar[str] = "distance"

    def columns(self, outputs: int) -> Columns:
        return (
            Column(
                "distance",
                "‖θ − θ₀‖",
                "distance of the weights from those at the start",
                "parameter",
            ),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The distance of θ (P,) from the network's initialisation by this seed.

        A module of the user's own begins with its own weights, whatever the seed.
        """
        start = objective.network.initialize(seed).to(theta)
        return {"distance": (theta - start).norm().item()}
