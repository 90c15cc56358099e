"""A sound file that was opened: what it is, its samples as a stream, and how its like is written again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile
from denoise.signals import Audio, Block

Writer = Callable[[Path, Iterator[Block]], list[str]]

CHANNELS = {1: "mono", 2: "stereo"}
CUT_SHORT = "the file is cut short; get a complete copy."


@dataclass(frozen=True)
class SoundFile:
    """`write(draft, blocks)` makes a file of the same kind there and returns what the user should know."""

    path: Path
    audio: Audio
    format: str  # "WAV", "FLAC", "Ogg", "MP4"
    subtype: str  # "24-bit", "32-bit float", "Vorbis", "AAC"
    write: Writer = field(repr=False)
    notes: tuple[str, ...] = ()
    pictures: bool = False  # the sound of a video

    def describe(self) -> str:
        """ "48 kHz stereo 24-bit FLAC, 3 min 12 s"."""
        audio = self.audio
        channels = CHANNELS.get(audio.channels, f"{audio.channels}-channel")
        file = " ".join(dict.fromkeys([self.subtype, self.format])) + " video" * self.pictures
        return f"{audio.rate / 1000:g} kHz {channels} {file}, {in_words(audio.seconds)}"


def in_words(seconds: float) -> str:
    """ "1 h 2 min 5 s", "3 min 12 s", "9.3 s"."""
    if seconds < 59.95:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h " * (hours > 0) + f"{minutes} min {rest} s"


def enough(path: Path, samples: int) -> int:
    """The number of samples, if that many can be a sound."""
    if samples < 2:
        plural = "sample" if samples == 1 else "samples"
        raise BadFile(f"{path}: {samples} {plural}. Nothing to clean; is the recording complete?")
    return samples


def whole(path: Path, blocks: Iterable[Block], rate: int, length: int) -> Iterator[Block]:
    """The same blocks, if they are all numbers and as many as were promised."""
    at = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise BadFile(
                f"{path}: holds values that are not numbers (NaN or infinite) at {at / rate:.1f} s; "
                "export it again without them."
            )
        at += block.shape[1]
        yield block
    if at != length:
        promised, there = in_words(length / rate), in_words(at / rate)
        raise BadFile(f"{path}: {promised} are promised and {there} are there: {CUT_SHORT}")


class Integers:
    """Full-scale floats to integers of so many bits, rounded and not dithered; counts what had to be clipped."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.clipped = 0

    def __call__(self, block: Block) -> NDArray[np.int32]:
        """Left-aligned in 32 bits, as libsndfile and FFmpeg want them."""
        full = 2 ** (self.bits - 1)
        values: NDArray[Any] = block.astype(np.float32 if self.bits <= 24 else np.float64)  # exact in either
        values *= full
        self.clipped += int(np.count_nonzero(np.abs(values) > full))
        np.clip(np.rint(values, out=values), -full, full - 1, out=values)
        aligned: NDArray[np.int32] = values.astype(np.int32) << (32 - self.bits)
        return aligned

    def notes(self) -> list[str]:
        if not self.clipped:
            return []
        samples = "1 sample" if self.clipped == 1 else f"{self.clipped} samples"
        return [f"{samples} above full scale {'was' if self.clipped == 1 else 'were'} clipped."]
