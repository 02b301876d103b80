"""AtrialFibrillation: two-channel ECG series of the UEA archive, cut into overlapping windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.datasets.archives import UnfitArchive, read_members
from eosflow.datasets.base import Archive, DatasetSettings, Facts, Preview, Waveforms
from eosflow.datasets.pool import Pool, Resources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eosflow.datasets.pool import Integers

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
            urls=("https://www.timeseriesclassification.com/aeon-toolkit/AtrialFibrillation.zip",),
            sha256=None,
            md5=None,
            size_limit=64 * 2**20,
        ),
    ),
    licence="UEA archive, research use; signals from PhysioNet, Open Data Commons Attribution",
    citation="Moody 2004, Computers in Cardiology 31; Bagnall et al. 2018, arXiv:1811.00075",
)


@dataclass(frozen=True)
class Series:
    """The series of one .ts file: values float64 (n, channels, steps), labels int64 (n,)."""

    values: NDArray[np.float64]
    labels: Integers


def parse_ts(text: str, name: str, channels: int, steps: int, classes: Sequence[str]) -> Series:
    """Read a .ts file of equally long, labelled series without time stamps or missing values.

    Format: header lines `@key value`, then `@data`, then one series per line: its channels and,
    last, its label, separated by colons; the values of a channel are separated by commas.
    Source: Bagnall et al. 2018, arXiv:1811.00075. `name` is the file's, for messages.

    Raises: UnfitArchive naming the line (and channel and step) that is not so.
    """
    import numpy as np

    values: list[list[list[float]]] = []
    labels: list[int] = []
    header: dict[str, str] = {}
    in_data = False
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not in_data:
            if not line.startswith("@"):
                raise _wrong(name, number, f"a header line starts with @, this one is {line!r:.60}")
            key, _, value = line[1:].partition(" ")
            in_data = key.lower() == "data"
            header[key.lower()] = value.strip()
            if in_data:
                _check_header(header, name, number, classes)
            continue
        *parts, label = line.split(":")
        if len(parts) != channels:
            raise _wrong(name, number, f"{len(parts)} channels, expected {channels}")
        if label.strip() not in classes:
            raise _wrong(name, number, f"class {label.strip()!r}, expected {' '.join(classes)}")
        values.append(
            [_channel(part, name, number, channel + 1, steps) for channel, part in enumerate(parts)]
        )
        labels.append(classes.index(label.strip()))
    if not values:
        raise UnfitArchive(f"{name}: no series after @data; the file is empty or truncated")
    return Series(np.array(values, dtype=np.float64), np.array(labels, dtype=np.int64))


def _check_header(
    header: Mapping[str, str], name: str, number: int, classes: Sequence[str]
) -> None:
    if header.get("timestamps", "false").lower() != "false":
        raise _wrong(name, number, "@timeStamps is true; only series without time stamps are read")
    if header.get("classlabel", "").split()[1:] != list(classes):
        given = header.get("classlabel", "absent")
        raise _wrong(name, number, f"@classLabel is {given!r}, expected 'true {' '.join(classes)}'")


def _channel(part: str, name: str, number: int, channel: int, steps: int) -> list[float]:
    fields = part.split(",")
    if len(fields) != steps:
        raise _wrong(name, number, f"channel {channel} has {len(fields)} values, expected {steps}")
    series = []
    for step, field in enumerate(fields, start=1):
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            what = "missing" if field.strip() in ("?", "", "NaN") else "not a number"
            raise _wrong(name, number, f"channel {channel}, step {step} is {field!r}: {what}")
        series.append(value)
    return series


def _wrong(name: str, line: int, what: str) -> UnfitArchive:
    return UnfitArchive(f"{name}, line {line}: {what}. The published file has no such line")


class AtrialFibrillation(DatasetSettings):
    """Windows of two-channel ECG series: how long they are and how far apart they start."""

    name: ClassVar[str] = "atrialfibrillation"
    facts: ClassVar[Facts] = FACTS

    window: int = Field(128, description="samples of one window", ge=1, le=STEPS - 1)
    stride: int = Field(1, description="samples from one window to the next", ge=1, le=STEPS - 1)

    def input_shape(self) -> tuple[int, ...]:
        """(2, window): channels, samples."""
        return (CHANNELS, self.window)

    def class_names(self) -> tuple[str, ...]:
        """Not terminating, terminating after a minute (s), terminating at once (t)."""
        return CLASSES

    def pool_size(self) -> int:
        """The windows of all training series."""
        return SERIES * len(range(0, STEPS - self.window, self.stride))

    def preview(self, shape: tuple[int, ...]) -> Preview:
        """Both channels of a window as curves."""
        return Waveforms((CHANNELS, self.window), RATE)

    def open_pool(self, resources: Resources) -> Pool:
        """Every window of every training series, in order of series and then start; raw values.

        Window k of a series starts at step k · stride, for starts in range(640 − window). Inputs:
        float64, D = 2 · window, the whole first channel and then the whole second.
        Source: the UEA archive, AtrialFibrillation_TRAIN.ts; labels n, s, t are 0, 1, 2.
        """
        return self._pool(resources, TRAINING_MEMBER)

    def held_out_size(self) -> int:
        """The windows of the test series, which are as many."""
        return self.pool_size()

    def open_held_out(self, resources: Resources) -> Pool:
        """Every window of every test series, in the same order. Inputs: as `open_pool`."""
        return self._pool(resources, TEST_MEMBER)

    def _pool(self, resources: Resources, file: str) -> Pool:
        import numpy as np

        assert resources.archive is not None  # FACTS lists one archive
        member = read_members(resources.archive, [file])[file]
        name = f"{resources.archive}: {file}"
        try:
            text = member.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnfitArchive(f"{name} is not text ({error})") from None
        series = parse_ts(text, name, CHANNELS, STEPS, CLASSES)
        window, stride = self.window, self.stride
        starts = np.arange(0, STEPS - window, stride)

        def inputs(rows: Integers) -> NDArray[np.float64]:
            which, start = rows // len(starts), starts[rows % len(starts)]
            # windows[i, c, s] is channel c of series i from step s on: a view, nothing is copied
            windows = np.lib.stride_tricks.sliding_window_view(series.values, window, axis=2)
            return windows[which, :, start].reshape(len(rows), CHANNELS * window)

        return Pool(
            labels=np.repeat(series.labels, len(starts)),
            inputs=inputs,
            scale=1.0,
            preprocessing={
                "windows": f"{window} steps, stride {stride}, starts in range({STEPS} - {window})",
                "order": "series, then start; within an input, channel 1 then channel 2",
                "values": "as published, not rescaled",
            },
        )
