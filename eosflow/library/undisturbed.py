"""Measuring a module in training without side effects on mode, buffers and random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(module: nn.Module, generators: Sequence[torch.Generator] = ()) -> Iterator[None]:
    """Evaluation mode, gradients on and autocast off inside; after it all is as before, to the bit.

    Those are: the mode of each submodule, activations in place, buffers, and the random numbers of
    torch on every device, NumPy's, Python's and those of `generators`.
    """
    device = next(module.parameters()).device.type
    modes = [(layer, layer.training) for layer in module.modules()]
    in_place = [layer for layer in module.modules() if vars(layer).get("inplace")]
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in module.buffers()]
    streams = [(stream, stream.get_state()) for stream in generators]
    plain, numbers = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
        try:
            for layer, _ in modes:
                # Not .eval(), which a module may have made do more than that.
                layer.training = False
            for layer in in_place:
                layer.inplace = False  # type: ignore[assignment]
            yield
        finally:
            for layer, mode in modes:
                layer.training = mode
            for layer in in_place:
                layer.inplace = True  # type: ignore[assignment]
            with torch.no_grad():
                for buffer, version, before in buffers:
                    if buffer._version != version:
                        buffer.copy_(before)
            for stream, state in streams:
                stream.set_state(state)
            random.setstate(plain)
            np.random.set_state(numbers)
