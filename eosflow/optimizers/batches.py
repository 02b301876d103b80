"""The examples of each step: pure functions of a small state of integers.

Random numbers come from the seed and a counter, not from a stream that moves on. So the state is
all there is to keep: a run that is taken up again sees the same examples.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from eosflow.storage.errors import UserError
from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.networks.base import NetworkSettings, Shape
    from eosflow.objectives.base import Objective

# All that the next draw depends on; JSON can hold it.
State = Mapping[str, int]


class Batches(Plugin, ABC):
    """Settings and the rule of drawing, and a line in `BATCHES`.

    Pure: `draw` leaves its argument as it is, and equal states give equal rows on every machine.
    """

    whole: ClassVar[bool] = False  # every step sees every example

    def why_not(self, network: NetworkSettings, shape: Shape, examples: int) -> str:
        """Why a network and so many examples cannot be given such batches; empty if they can."""
        if not self.whole and self.steps_per_epoch(examples) < 2:
            return (
                f"a batch must be smaller than the {examples} examples of `n`; for all of them set "
                "batch: full."
            )
        return ""

    @abstractmethod
    def describe(self) -> str:
        """The batches in words, for the report."""

    @abstractmethod
    def init(self, objective: Objective, seed: int) -> State:
        """The state before the first draw from the objective's examples.

        Raises: UserError for batches that these examples cannot have.
        """

    @abstractmethod
    def steps_per_epoch(self, examples: int) -> int:
        """Steps that see N examples in all; 1 where each sees every example."""

    @abstractmethod
    def draw(self, state: State) -> tuple[Tensor | None, State]:
        """The rows (n,) int64, on the CPU, of the next batch and the state after it.

        None stands for all N examples in their order.
        """

    def of(self, objective: Objective, rows: Tensor, state: State) -> Objective:
        """The loss that a step sees: of these rows (n,); `state` is that before their draw."""
        return objective.batch(rows.to(objective.inputs.device))


class FullBatch(Batches):
    """Every example in every step."""

    name: ClassVar[str] = "full"
    whole: ClassVar[bool] = True

    def describe(self) -> str:
        return "all examples"

    def steps_per_epoch(self, examples: int) -> int:
        return 1

    def init(self, objective: Objective, seed: int) -> State:
        return {}

    def draw(self, state: State) -> tuple[Tensor | None, State]:
        return None, state


class _Random(Batches):
    """Batches of one size."""

    size: int = Field(description="examples per batch", ge=1, examples=[4])

    def steps_per_epoch(self, examples: int) -> int:
        return math.ceil(examples / self.size)

    def init(self, objective: Objective, seed: int) -> State:
        """`examples` and `seed`."""
        if self.size > objective.examples:
            raise UserError(
                f"The batch size is {self.size}, but there are only {objective.examples} examples: "
                f"choose a size of at most {objective.examples}."
            )
        return {"examples": objective.examples, "seed": seed}


class Shuffled(_Random):
    """Every example once per epoch, in a new order in each; optionally with augmentation.

    The last batch of an epoch is smaller if the size does not divide N. Only the steps, and their
    loss and accuracy in the trajectory, use augmented images; snapshots, target losses and all
    measurements use the original images.
    """

    name: ClassVar[str] = "shuffled"

    augment: Literal["none", "crop-and-flip"] = Field(
        "none",
        description="crop-and-flip: in every epoch each image is padded by 4 pixels, cropped "
        "at random and mirrored with probability one half; for networks that read "
        "images",
    )

    def describe(self) -> str:
        words = f"batches of {self.size} in a new order every epoch"
        changed = self.augment != "none"
        return f"{words}, images cropped and flipped at random" if changed else words

    def why_not(self, network: NetworkSettings, shape: Shape, examples: int) -> str:
        if self.augment != "none" and not (network.reads == "images" and len(shape) == 3):
            return (
                "augment is for images (channels, height, width), which the network "
                f"{network.name} does not read; take one that does, such as cnn, or augment: none."
            )
        return super().why_not(network, shape, examples)

    def init(self, objective: Objective, seed: int) -> State:
        """`examples`, `seed`, and the next row: `position` in `epoch`."""
        if self.augment != "none":
            from eosflow.optimizers.augmentation import check_images

            check_images(objective, f"augment: {self.augment} of the batches")
        return {**super().init(objective, seed), "epoch": 0, "position": 0}

    def draw(self, state: State) -> tuple[Tensor | None, State]:
        """The next `size` rows (n,) of the epoch's order, or what is left of it."""
        examples, epoch, start = state["examples"], state["epoch"], state["position"]
        stop = min(start + self.size, examples)
        # A copy: the order itself is shared by all draws of the epoch.
        rows = _order(examples, state["seed"], epoch)[start:stop].clone()
        ended = stop == examples
        return rows, {**state, "epoch": epoch + ended, "position": 0 if ended else stop}

    def of(self, objective: Objective, rows: Tensor, state: State) -> Objective:
        batch = super().of(objective, rows, state)
        if self.augment == "none":
            return batch
        from eosflow.optimizers.augmentation import augmented

        return augmented(batch, rows, state["examples"], state["seed"], state["epoch"])


class WithReplacement(_Random):
    """Independent draws, each example as likely as any other, also within one batch."""

    name: ClassVar[str] = "with-replacement"

    def describe(self) -> str:
        return f"batches of {self.size} drawn with replacement"

    def init(self, objective: Objective, seed: int) -> State:
        return {**super().init(objective, seed), "draws": 0}

    def draw(self, state: State) -> tuple[Tensor | None, State]:
        import torch

        from eosflow.spectra.randomness import generator

        draws = state["draws"]
        stream = generator(state["seed"], f"batch {draws}")
        rows = torch.randint(state["examples"], (self.size,), generator=stream)
        return rows, {**state, "draws": draws + 1}


BATCHES: dict[str, type[Batches]] = {
    plugin.name: plugin for plugin in (FullBatch, Shuffled, WithReplacement)
}


@functools.lru_cache(maxsize=2)  # an epoch draws from its order many times
def _order(examples: int, seed: int, epoch: int) -> Tensor:
    """The order (N,) of the examples in an epoch."""
    import torch

    from eosflow.spectra.randomness import generator

    return torch.randperm(examples, generator=generator(seed, f"order of epoch {epoch}"))
