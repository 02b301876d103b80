"""Random changes of a batch's images that leave their classes as they are."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.base import Objective
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

PADDING = 4  # pixels of value 0 on each side: black, or for standardised inputs the mean


def check_images(objective: Objective, setting: str) -> None:
    """Raises: UserError if the network does not read images, which `setting` would change."""
    if len(_shape(objective)) != 3:
        raise UserError(
            f"{setting} changes images, and the network does not read inputs as (channels, height, "
            "width): take one that does, such as cnn, or leave it out."
        )


def augmented(batch: Objective, rows: Tensor, examples: int, seed: int, epoch: int) -> Objective:
    """The batch of the examples `rows` (n,), with its images cropped and flipped."""
    images = batch.inputs.reshape(len(rows), *_shape(batch))
    changed = crop_and_flip(images, rows, examples, seed, epoch)
    batch.inputs = changed.reshape(batch.inputs.shape)
    return batch


def _shape(objective: Objective) -> tuple[int, ...]:
    """The shape of one input as the network reads it; empty for one that takes plain numbers."""
    network = objective.network
    return network.shape if isinstance(network, ModuleNetwork) else ()


def crop_and_flip(images: Tensor, rows: Tensor, examples: int, seed: int, epoch: int) -> Tensor:
    """Images (n, C, H, W), each moved by up to 4 pixels each way and in half of all cases mirrored.

    Padded by 4 zeros, cropped to H × W at a uniform place, flipped left to right with probability
    1/2. What happens to an image depends on (seed, epoch, its row) alone; `rows` (n,) int64 are
    those of the images, of `examples` in all. Source: He et al., CVPR 2016, section 4.2.
    """
    down, right, flipped = _changes(examples, seed, epoch)[rows.cpu()].T.to(images.device)
    height, width = images.shape[-2:]
    padded = functional.pad(images, (PADDING,) * 4)
    across = torch.arange(width, device=images.device).expand(len(images), -1)
    across = torch.where(flipped[:, None] == 1, across.flip(1), across) + right[:, None]
    along = torch.arange(height, device=images.device) + down[:, None]
    image = torch.arange(len(images), device=images.device)
    # Advanced indices around a slice come first in the result: (n, H, W, C).
    cropped = padded[image[:, None, None], :, along[:, :, None], across[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=2)  # an epoch draws from its changes many times
def _changes(examples: int, seed: int, epoch: int) -> Tensor:
    """Offsets down and right, 0 … 2 · PADDING, and whether flipped: (N, 3) int64 on the CPU."""
    stream = generator(seed, f"augmentation of epoch {epoch}")
    offsets = torch.randint(2 * PADDING + 1, (examples, 2), generator=stream)
    flipped = torch.randint(2, (examples, 1), generator=stream)
    return torch.cat([offsets, flipped], dim=1)
