"""AtrialFibrillation: two-channel ECG series of the UEA archive, cut into overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.datasets.base import Archive, DatasetSettings, Facts, Pool, Resources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.base import Integers

TRAINING_MEMBER = "AtrialFibrillation_TRAIN.ts"
TEST_MEMBER = "AtrialFibrillation_TEST.ts"
CLASSES = ("n", "s", "t")
SERIES = 15
CHANNELS = 2
RATE = 128  # samples per second
STEPS = 5 * RATE
FACTS = Facts(
    title="AtrialFibrillation",
    archives=(
        Archive(
            name="AtrialFibrillation.zip",
            url="https://www.timeseriesclassification.com/aeon-toolkit/AtrialFibrillation.zip",
            sha256=None,
        ),
    ),
    licence="UEA archive, research use; signals from PhysioNet, Open Data Commons Attribution",
    citation="Moody 2004, Computers in Cardiology 31; Bagnall et al. 2018, arXiv:1811.00075",
)


def parse_ts(
    text: str, name: str, channels: int, steps: int, classes: Sequence[str]
) -> tuple[NDArray[np.float64], Integers]:
    """Series (n, channels, steps) and labels (n,) of a .ts file without gaps or time stamps.

    Format: header lines `@key value`, then `@data`, then one series per line: its channels and,
    last, its label, separated by colons; the values of a channel are separated by commas.
    Source: Bagnall et al. 2018, arXiv:1811.00075. `name` is the file's, for messages.

    Raises: ValueError naming the line that is not so.
    """
    import numpy as np

    lines = [line.strip() for line in text.splitlines()]
    for wanted in (f"@classLabel true {' '.join(classes)}", "@data"):
        if wanted not in lines:
            raise ValueError(f"{name} has no line {wanted}")
    values: list[NDArray[np.float64]] = []
    labels: list[int] = []
    start = lines.index("@data") + 1
    for number, line in enumerate(lines[start:], start + 1):
        if not line:
            continue
        *parts, label = line.split(":")
        try:
            series = np.array([part.split(",") for part in parts], dtype=np.float64)
            if series.shape != (channels, steps) or not np.isfinite(series).all():
                raise ValueError(f"not {channels} channels of {steps} numbers each")
            labels.append(classes.index(label))
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: {error}") from error
        values.append(series)
    return np.array(values), np.array(labels, dtype=np.int64)


class AtrialFibrillation(DatasetSettings):
    """Windows of two-channel ECG series: their length and distance."""

    name: ClassVar[str] = "atrialfibrillation"
    facts: ClassVar[Facts] = FACTS

    window: int = Field(128, description="samples of one window", ge=1, le=STEPS - 1)
    stride: int = Field(
        1, description="samples between the starts of two windows", ge=1, le=STEPS - 1
    )

    def input_shape(self) -> tuple[int, ...]:
        """(2, window): channels, samples."""
        return (CHANNELS, self.window)

    def class_names(self) -> tuple[str, ...]:
        """Not terminating, terminating after a minute (s), terminating at once (t)."""
        return CLASSES

    def size(self, held_out: bool = False) -> int:
        """The windows of all series of a split; both have as many."""
        return SERIES * len(range(0, STEPS - self.window, self.stride))

    def open(self, resources: Resources, held_out: bool = False) -> Pool:
        """Every window of every series of a split, in order of series and then start; raw values.

        Window k of a series starts at step k · stride, for starts in range(640 − window). Inputs:
        float64, D = 2 · window, the whole first channel and then the whole second.
        """
        import numpy as np

        name = TEST_MEMBER if held_out else TRAINING_MEMBER
        with resources.members(name) as members:
            series, labels = parse_ts(members[name].decode(), name, CHANNELS, STEPS, CLASSES)
        window, stride = self.window, self.stride
        starts = np.arange(0, STEPS - window, stride)

        def inputs(rows: Integers) -> NDArray[np.float64]:
            which, start = rows // len(starts), starts[rows % len(starts)]
            # windows[i, c, s] is channel c of series i from step s on: a view, nothing is copied
            windows = np.lib.stride_tricks.sliding_window_view(series, window, axis=2)
            return windows[which, :, start].reshape(len(rows), CHANNELS * window)

        return Pool(
            labels=np.repeat(labels, len(starts)),
            inputs=inputs,
            scale=1.0,
            preprocessing={
                "windows": f"{window} steps, stride {stride}, starts in range({STEPS} - {window})",
                "order": "series, then start; within an input, channel 1 then channel 2",
                "values": "as published, not rescaled",
            },
        )
